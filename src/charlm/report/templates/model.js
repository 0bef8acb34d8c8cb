// A trained model in the page: its network, and the experts that are embedded with it.

// A matrix of int8 with a factor for each row.
class Matrix {
  constructor(rows, columns, factors, values) {
    Object.assign(this, { rows, columns, factors, values });
  }

  row(index) {
    const row = this.values.subarray(index * this.columns, (index + 1) * this.columns);
    return Float64Array.from(row, (value) => value * this.factors[index]);
  }

  column(index) {
    return Float64Array.from(this.factors, (factor, row) => factor * this.values[row * this.columns + index]);
  }

  times(vector) {
    const product = new Float64Array(this.rows);
    for (let row = 0, place = 0; row < this.rows; row++) {
      let sum = 0;
      for (let column = 0; column < this.columns; column++) sum += this.values[place++] * vector[column];
      product[row] = sum * this.factors[row];
    }
    return product;
  }
}

const add = (a, b) => a.map((value, index) => value + b[index]);
const sigmoid = (a) => 1 / (1 + Math.exp(-a));

// One step of a layer, which updates the state in place. `x` is W x + b_ih and `u` is U h + b_hh, with
// the gates one after another. src/charlm/recurrent/equations.py explains the equations.
const cells = {
  lstm({ h, c }, x, u) {
    const size = h.length;
    const a = add(x, u);
    for (let k = 0; k < size; k++) {
      const i = sigmoid(a[k]);
      const f = sigmoid(a[size + k]);
      const g = Math.tanh(a[2 * size + k]);
      const o = sigmoid(a[3 * size + k]);
      c[k] = f * c[k] + i * g;
      h[k] = o * Math.tanh(c[k]);
    }
  },
  gru({ h }, x, u) {
    const size = h.length;
    for (let k = 0; k < size; k++) {
      const r = sigmoid(x[k] + u[k]);
      const z = sigmoid(x[size + k] + u[size + k]);
      const n = Math.tanh(x[2 * size + k] + r * u[2 * size + k]);
      h[k] = (1 - z) * n + z * h[k];
    }
  },
};

// Return the arrays of a `Packed` (src/charlm/report/playground.py) by name.
async function unpack({ arrays, data }) {
  const types = { i1: Int8Array, u1: Uint8Array, i2: Int16Array, i4: Int32Array, f4: Float32Array };
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const unpacked = {};
  let place = 0;
  for (const [name, type, length] of arrays) {
    unpacked[name] = new types[type](buffer, place, length);
    place += unpacked[name].byteLength;
  }
  return unpacked;
}

class Model {
  // Make the model of an `EmbeddedModel`, with the tables of its experts, if there are any.
  static async load(description, tables) {
    const model = Object.assign(new Model(), description);
    const arrays = await unpack(description.weights);
    model.ids = new Map(model.symbols.map((symbol, id) => [symbol, id]));
    model.special = [model.unknown, model.end_of_document].filter((id) => id !== null);
    for (const id of model.special) model.ids.delete(model.symbols[id]);
    model.weights = {};
    for (const [name, values] of Object.entries(arrays)) {
      const factors = arrays[`${name}.factors`];
      const columns = factors && values.length / factors.length;
      model.weights[name] = factors ? new Matrix(factors.length, columns, factors, values) : values;
    }
    if (model.mixture) model.mixture = new Mixture(model, tables);
    return model;
  }

  // Reset the state, and return the logits of the first symbol of a document.
  begin() {
    this.decoder = new TextDecoder(); // used if symbols are bytes
    this.state = this.members.map((member) =>
      Array.from({ length: this.layers }, (_, layer) => {
        const size = this.weights[`${member}recurrent.weight_hh_l${layer}`].columns;
        return { h: new Float64Array(size), c: new Float64Array(size) };
      }),
    );
    this.mixture?.contexts.begin();
    return this.end_of_document === null ? this.logits() : this.read(this.end_of_document);
  }

  // Read a symbol, and return the logits of the next.
  read(symbol) {
    this.members.forEach((member, number) => {
      const embedding = this.weights[`${member}embedding.weight`];
      const states = this.state[number];
      states.forEach((state, layer) => {
        const [W, U, b_ih, b_hh] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(
          (name) => this.weights[`${member}recurrent.${name}_l${layer}`],
        );
        let product;
        if (layer > 0) product = W.times(states[layer - 1].h);
        else if (embedding) product = W.times(embedding.row(symbol));
        else product = W.column(symbol); // one-hot symbols
        cells[this.cell](state, add(product, b_ih), add(U.times(state.h), b_hh));
      });
    });
    this.mixture?.contexts.read(symbol);
    return this.logits();
  }

  // Return the logits of the next symbol. Those of an ensemble are the logarithms of its members' mean
  // probabilities.
  logits() {
    const each = this.members.map((member, number) => {
      const output = this.weights[`${member}output.weight`] ?? this.weights[`${member}embedding.weight`]; // tied
      return add(output.times(this.state[number].at(-1).h), this.weights[`${member}output.bias`]);
    });
    let logits = each[0];
    if (each.length > 1) {
      const probabilities = each.map((logits) => logSoftmax(logits).map(Math.exp));
      logits = probabilities.reduce(add).map((sum) => Math.log(sum / each.length));
    }
    return this.mixture ? this.mixture.logits(logits) : logits;
  }

  // Return pairs of text and id; the id of an unknown symbol is `this.unknown`, or null if there is none.
  encode(text) {
    let pieces = [...text];
    if (this.unit === "grapheme") pieces = Array.from(new Intl.Segmenter().segment(text), (part) => part.segment);
    if (this.unit === "byte") return Array.from(new TextEncoder().encode(text), (id) => [this.decode(id), id]);
    return pieces.map((piece) => [piece, this.ids.get(piece) ?? this.unknown]);
  }

  decode(id) {
    if (this.unit !== "byte") return this.symbols[id];
    return this.decoder.decode(Uint8Array.of(id), { stream: true });
  }

  // Draw a symbol, or take the likeliest at temperature 0. The unknown symbol is never drawn.
  draw(logits, temperature, random) {
    const allowed = logits.map((logit, id) => (id === this.unknown ? -Infinity : logit));
    const likeliest = allowed.indexOf(Math.max(...allowed));
    if (temperature === 0) return likeliest;
    const weights = allowed.map((logit) => Math.exp((logit - allowed[likeliest]) / temperature));
    let place = random() * weights.reduce((total, weight) => total + weight);
    const drawn = weights.findIndex((weight) => (place -= weight) < 0);
    return drawn < 0 ? likeliest : drawn;
  }
}

// The logarithms of the probabilities that logits stand for.
function logSoftmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const total = largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
  return logits.map((logit) => logit - total);
}
