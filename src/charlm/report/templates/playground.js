// The playground: a trained model generates text in the page, one symbol at a time.

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

class Model {
  constructor(description) {
    Object.assign(this, description);
    this.ids = new Map(this.symbols.map((symbol, id) => [symbol, id]));
    this.special = [this.unknown, this.end_of_document].filter((id) => id !== null);
    for (const id of this.special) this.ids.delete(this.symbols[id]);
    this.weights = Model.unpack(description);
  }

  static unpack({ shapes, weights }) {
    const bytes = Uint8Array.from(atob(weights), (character) => character.charCodeAt(0)).buffer;
    const count = Object.values(shapes).reduce((total, [rows]) => total + rows, 0);
    let floats = 0;
    let integers = 4 * count;
    const unpacked = {};
    for (const [name, [rows, columns]] of Object.entries(shapes)) {
      const vector = new Float32Array(bytes, 4 * floats, rows);
      floats += rows;
      if (columns === undefined) unpacked[name] = vector;
      else {
        const values = new Int8Array(bytes, integers, rows * columns);
        integers += rows * columns;
        unpacked[name] = new Matrix(rows, columns, vector, values);
      }
    }
    return unpacked;
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
    return this.logits();
  }

  // Return the logits of the next symbol. Those of an ensemble are the logarithms of its members' mean
  // probabilities.
  logits() {
    const each = this.members.map((member, number) => {
      const output = this.weights[`${member}output.weight`] ?? this.weights[`${member}embedding.weight`]; // tied
      return add(output.times(this.state[number].at(-1).h), this.weights[`${member}output.bias`]);
    });
    if (each.length === 1) return each[0];
    const probabilities = each.map((logits) => {
      const total = logTotal(logits);
      return logits.map((logit) => Math.exp(logit - total));
    });
    return probabilities.reduce(add).map((sum) => Math.log(sum / each.length));
  }

  // Return pairs of text and id. Unknown text becomes the unknown symbol, or is left out if there is none.
  encode(text) {
    let pieces = [...text];
    if (this.unit === "grapheme") pieces = Array.from(new Intl.Segmenter().segment(text), (part) => part.segment);
    if (this.unit === "byte") return Array.from(new TextEncoder().encode(text), (id) => [this.decode(id), id]);
    return pieces.map((piece) => [piece, this.ids.get(piece) ?? this.unknown]).filter(([, id]) => id !== null);
  }

  decode(id) {
    if (this.unit !== "byte") return this.symbols[id];
    return this.decoder.decode(Uint8Array.of(id), { stream: true });
  }

  // Draw a symbol, or take the likeliest at temperature 0. Special symbols are never drawn.
  draw(logits, temperature) {
    const allowed = logits.map((logit, id) => (this.special.includes(id) ? -Infinity : logit));
    const likeliest = allowed.indexOf(Math.max(...allowed));
    if (temperature === 0) return likeliest;
    const weights = allowed.map((logit) => Math.exp((logit - allowed[likeliest]) / temperature));
    let place = Math.random() * weights.reduce((total, weight) => total + weight);
    const drawn = weights.findIndex((weight) => (place -= weight) < 0);
    return drawn < 0 ? likeliest : drawn;
  }
}

// The logarithm of the sum of exponentials.
function logTotal(logits) {
  const largest = Math.max(...logits);
  return largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
}

// The surprisal of a symbol in bits.
const surprisal = (logits, symbol) => (logTotal(logits) - logits[symbol]) / Math.LN2;

const form = document.querySelector("#playground form");
if (form) {
  const output = document.querySelector("#playground .written");
  const status = document.querySelector("#playground [role=status]");
  const stop = form.querySelector("[type=button]");
  const descriptions = [...document.querySelectorAll("#playground script")];
  const models = new Map();
  let writing = null;

  const show = (text, bits, given) => {
    const span = document.createElement("span");
    span.textContent = text;
    span.className = `bits-${Math.min(7, Math.floor(bits))}`;
    span.classList.toggle("given", given);
    span.title = `${bits.toFixed(2)} bits`;
    output.append(span);
  };

  const write = async (settings) => {
    const number = Number(settings.get("model"));
    if (!models.has(number)) models.set(number, new Model(JSON.parse(descriptions[number].textContent)));
    const model = models.get(number);
    const temperature = Number(settings.get("temperature"));
    const length = Number(settings.get("length"));
    const mine = (writing = Symbol("writing"));
    stop.disabled = false;
    output.replaceChildren();
    status.textContent = "";
    let logits = model.begin();
    for (const [text, id] of model.encode(settings.get("prompt"))) {
      show(text, surprisal(logits, id), true);
      logits = model.read(id);
    }
    let written = 0;
    let total = 0;
    for (; written < length && writing === mine; written++) {
      const id = model.draw(logits, temperature);
      const bits = surprisal(logits, id);
      total += bits;
      show(model.decode(id), bits, false);
      logits = model.read(id);
      await new Promise(requestAnimationFrame);
    }
    if (writing === mine) writing = null;
    stop.disabled = writing === null;
    if (!writing) status.textContent = `${written} symbols, ${(total / written).toFixed(2)} bits per symbol`;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    write(new FormData(form));
  });
  stop.addEventListener("click", () => (writing = null));
  form.temperature.addEventListener("input", () => {
    form.querySelector("label output").value = form.temperature.value;
  });
}
