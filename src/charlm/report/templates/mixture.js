// The experts of a mixture and its gate. src/charlm/model/contexts.py, kneser_ney.py, experts.py, gate.py
// and mixture.py explain what is computed here.

const MULTIPLIER = 0x5851f42d4c957f2dn;
const signed = (number) => BigInt.asIntN(64, number);

function combine(context, ...others) {
  for (const other of others) {
    context = signed((context ^ other) * MULTIPLIER);
    context ^= context >> 31n;
  }
  return context;
}

// What stands before the next symbol: the last symbols, the word begun and the words before it.
class Contexts {
  constructor({ order, letters }, size, end_of_document) {
    Object.assign(this, { order, size, end_of_document, letters: letters.map(BigInt) });
  }

  begin() {
    this.history = Array(this.order - 1).fill(this.size);
    this.words = [0n, 0n, 0n];
  }

  read(symbol) {
    const [begun, ...before] = this.words;
    if (symbol === this.end_of_document) this.begin();
    else if (this.letters[symbol]) this.words[0] = signed(begun * MULTIPLIER + this.letters[symbol]);
    else if (begun) this.words = [0n, begun, before[0]];
    this.history = [symbol, ...this.history].slice(0, this.order - 1);
  }

  suffix(length) {
    return this.history.slice(0, length).reduce((hash, symbol) => combine(hash, BigInt(symbol + 1)), 0n);
  }

  // The hash of the context of an expert.
  of(name) {
    const [begun, last, earlier] = this.words;
    switch (name) {
      case "word": return combine(begun, 1n);
      case "word1": return combine(begun, 2n, last);
      case "word2": return combine(begun, 3n, last, earlier);
      case "skip": return combine(begun, 4n, earlier);
      case "word1_suffix3": return combine(this.suffix(3), 5n, last);
      default: return this.suffix(Number(name.slice("ngram".length)) - 1);
    }
  }
}

// The symbols seen after each context of one kind.
class CountTable {
  // Return the tables of a `Packed` by the names of their experts.
  static async load(packed) {
    const arrays = await unpack(packed);
    const names = new Set(Object.keys(arrays).map((name) => name.split(".")[0]));
    return Object.fromEntries(Array.from(names, (name) => [name, new CountTable(name, arrays)]));
  }

  constructor(name, arrays) {
    for (const array of ["contexts", "distinct", "symbols", "counts", "discounts"]) {
      this[array] = arrays[`${name}.${array}`];
    }
    // Contexts come as differences, which compress better.
    for (let place = 1; place < this.contexts.length; place++) this.contexts[place] += this.contexts[place - 1];
    this.first = new Int32Array(this.distinct.length);
    for (let place = 1; place < this.first.length; place++) {
      this.first[place] = this.first[place - 1] + this.distinct[place - 1];
    }
  }

  // Return the log-probabilities after a context, and how much is known of it.
  predict(hash, general) {
    const context = Number(BigInt.asIntN(32, hash >> 32n));
    let low = 0;
    let high = this.contexts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.contexts[middle] < context) low = middle + 1;
      else high = middle;
    }
    if (this.contexts[low] !== context) return [general, 0, 0];
    const begin = this.first[low];
    const end = begin + this.distinct[low];
    let total = 0;
    let taken = 0;
    for (let place = begin; place < end; place++) {
      total += this.counts[place];
      taken += this.discounts[Math.min(3, this.counts[place])];
    }
    const predicted = general.map((value) => value + Math.log(taken / total));
    for (let place = begin; place < end; place++) {
      const seen = (this.counts[place] - this.discounts[Math.min(3, this.counts[place])]) / total;
      const symbol = this.symbols[place];
      predicted[symbol] = Math.log(Math.exp(predicted[symbol]) + seen);
    }
    return [predicted, Math.log1p(total), Math.log1p(end - begin)];
  }
}

const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);

class Mixture {
  constructor({ mixture, symbols, end_of_document, weights }, tables) {
    this.experts = mixture.experts;
    this.tables = tables;
    this.longest = this.experts.findIndex(({ name }) => name === `ngram${mixture.order}`);
    this.contexts = new Contexts(mixture, symbols.length, end_of_document);
    this.uniform = new Float64Array(symbols.length).fill(-Math.log(symbols.length));
    this.gate = weights;
  }

  // Return the mixture's log-probabilities, given the network's logits.
  logits(logits) {
    const network = logSoftmax(logits);
    const known = [];
    const predicted = [];
    this.experts.forEach(({ name, general }) => {
      const [probabilities, ...features] = this.tables[name].predict(
        this.contexts.of(name),
        predicted[general] ?? this.uniform,
      );
      predicted.push(probabilities);
      known.push(...features);
    });
    const both = [network, predicted[this.longest]];
    const [p, q] = both.map((each) => each.map(Math.exp));
    const features = [
      -dot(p, both[0]),
      -dot(q, both[1]),
      ...both.map((each) => each.reduce((a, b) => Math.max(a, b))),
      p.reduce((sum, value, index) => sum + Math.abs(value - q[index]), 0),
      ...known,
    ];
    const weights = this.weigh(features);
    const mixed = new Float64Array(network.length);
    [network, ...predicted].forEach((each, expert) => {
      for (let symbol = 0; symbol < mixed.length; symbol++) mixed[symbol] += weights[expert] * each[symbol];
    });
    return logSoftmax(mixed);
  }

  // Return the weight of the network and of each expert.
  weigh(features) {
    const [mean, scale, constant, hidden, bias, output] = [
      ...["mean", "scale", "constant", "hidden.weight", "hidden.bias", "output.weight"],
    ].map((name) => this.gate[`gate.${name}`]);
    const standardized = features.map((value, index) => (value - mean[index]) / scale[index]);
    const units = Array.from(bias, (value, unit) => {
      const begin = unit * features.length;
      return Math.tanh(value + dot(standardized, hidden.subarray(begin, begin + features.length)));
    });
    return Array.from(constant, (value, expert) => {
      const begin = expert * units.length;
      return value + dot(units, output.subarray(begin, begin + units.length));
    });
  }
}
