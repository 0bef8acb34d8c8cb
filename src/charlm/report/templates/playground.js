// The playground: models read the user's text and write on, one symbol at a time.

const ALTERNATIVES = 5;
const FRAME = 12; // milliseconds of work before the page is drawn again

// Return a generator of random numbers from 0 to 1: mulberry32 by Tommy Ettinger.
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const quoted = (text) => (text === " " ? "space" : text === "\n" ? "line break" : `“${text}”`);

// A text that a model has read or written, with the surprisal of each symbol.
class Panel {
  constructor(element) {
    this.element = element;
    this.output = element.querySelector(".written");
    this.detail = element.querySelector(".detail");
    this.status = element.querySelector("[role=status]");
    this.copy = element.querySelector("[name=copy]");
    this.continue = element.querySelector("[name=continue]");
    this.output.addEventListener("pointerover", ({ target }) => this.select(this.symbols.get(target)?.index));
    this.output.addEventListener("click", ({ target }) => this.select(this.symbols.get(target)?.index));
    this.output.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !this.output.children.length) return;
      event.preventDefault();
      const last = this.output.children.length - 1;
      this.select(Math.min(last, Math.max(0, (this.selected ?? (step > 0 ? -1 : last + 1)) + step)));
    });
    this.copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(this.output.textContent);
      this.status.textContent = "copied";
    });
    this.clear();
  }

  clear() {
    this.symbols = new Map(); // what is known of each element
    this.selected = undefined;
    this.output.replaceChildren();
    for (const text of [this.detail, this.status]) text.textContent = "";
    for (const button of [this.copy, this.continue]) button.hidden = true;
  }

  // Show a symbol, of which the model expected `logits`.
  show(model, text, id, logits, given) {
    const nats = logSoftmax(logits);
    const bits = id === null ? Infinity : -nats[id] / Math.LN2;
    const span = document.createElement("span");
    span.textContent = text;
    span.className = `bits-${Math.min(7, Math.floor(bits))}`;
    span.classList.toggle("given", given);
    span.title = id === null ? "unknown" : `${bits.toFixed(2)} bits`;
    const likeliest = Array.from(nats, (value, symbol) => [value, symbol])
      .filter(([, symbol]) => !model.special.includes(symbol))
      .sort(([a], [b]) => b - a)
      .slice(0, ALTERNATIVES)
      .map(([value, symbol]) => `${quoted(model.symbols[symbol])} ${(100 * Math.exp(value)).toFixed(1)}%`);
    this.symbols.set(span, { index: this.output.children.length, title: span.title, likeliest });
    this.output.append(span);
    return bits;
  }

  select(index) {
    if (index === undefined || index === this.selected) return;
    this.output.children[this.selected]?.classList.remove("selected");
    const span = this.output.children[index];
    span.classList.add("selected");
    this.selected = index;
    const { title, likeliest } = this.symbols.get(span);
    this.detail.textContent = `${quoted(span.textContent)}: ${title}. Likeliest: ${likeliest.join(", ")}`;
    this.continue.hidden = false;
  }

  // The text up to the selected symbol.
  get beginning() {
    return Array.from(this.output.children).slice(0, this.selected + 1).map((span) => span.textContent).join("");
  }
}

const form = document.querySelector("#playground form");
if (form) {
  const panels = Array.from(document.querySelectorAll("#playground .panel"), (element) => new Panel(element));
  const descriptions = [...document.querySelectorAll("#playground script.model")];
  const packed = [...document.querySelectorAll("#playground script.counts")];
  const models = [];
  const tables = [];
  const { stop, temperature } = form.elements;
  let running = null; // the work that has begun last

  const load = async (number) => {
    const description = JSON.parse(descriptions[number].textContent);
    const counts = description.mixture?.counts;
    if (counts !== undefined) tables[counts] ??= CountTable.load(JSON.parse(packed[counts].textContent));
    return Model.load(description, await tables[counts]);
  };

  // Let a model read the text and then write `length` symbols.
  const run = async (model, panel, { prompt, temperature, length, random, seed }, mine) => {
    let logits = model.begin();
    let shown = performance.now();
    const rest = async () => {
      if (performance.now() - shown < FRAME) return;
      await new Promise(requestAnimationFrame);
      shown = performance.now();
    };
    const unknown = new Set();
    let total = 0;
    let count = 0;
    const see = (text, id, given) => {
      const bits = panel.show(model, text, id, logits, given);
      if (given && length) return;
      total += bits;
      count++;
    };
    for (const [text, id] of model.encode(prompt)) {
      if (running !== mine) break;
      if (model.unit !== "byte" && !model.ids.has(text)) unknown.add(text);
      if (id === null) {
        panel.show(model, text, id, logits, true); // skipped
        continue;
      }
      see(text, id, true);
      logits = model.read(id);
      await rest();
    }
    let ended = false;
    for (let written = 0; written < length && running === mine; written++) {
      const id = model.draw(logits, temperature, random);
      if ((ended = id === model.end_of_document)) break;
      see(model.decode(id), id, false);
      logits = model.read(id);
      await rest();
    }
    if (running !== mine && running !== null) return;
    const notes = [`${count} symbols, ${(total / Math.max(1, count)).toFixed(2)} bits per symbol`];
    if (running !== mine) notes.push("stopped");
    else if (length) notes.push(ended ? "the document ends here" : "cut at this length");
    if (length && temperature) notes.push(`seed ${seed}`);
    if (unknown.size) notes.push(`not in the vocabulary: ${[...unknown].map(quoted).join(", ")}`);
    panel.status.textContent = notes.join("; ");
    panel.copy.hidden = false;
  };

  // Start to read, or to write `length` symbols.
  const start = async (length) => {
    const settings = new FormData(form);
    const chosen = settings.get("model") === "all" ? [0, 1] : [Number(settings.get("model"))];
    const seed = settings.get("seed") === "" ? Math.floor(Math.random() * 1e6) : Number(settings.get("seed"));
    const mine = (running = Symbol("running"));
    stop.disabled = false;
    panels.forEach((panel, index) => {
      panel.element.hidden = index >= chosen.length;
      panel.clear();
    });
    const request = { prompt: settings.get("prompt"), temperature: Number(settings.get("temperature")), length, seed };
    await Promise.all(
      chosen.map(async (number, index) => {
        const model = await (models[number] ??= load(number));
        if (running === mine) await run(model, panels[index], { ...request, random: randomNumbers(seed) }, mine);
        else if (running === null) panels[index].status.textContent = "stopped";
      }),
    );
    if (running === mine) running = null;
    if (!running && document.activeElement === stop) form.elements.read.focus();
    stop.disabled = running === null;
  };

  const write = () => form.reportValidity() && start(Number(new FormData(form).get("length")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    write();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      write();
    }
  });
  form.elements.read.addEventListener("click", () => start(0));
  stop.addEventListener("click", () => (running = null));
  temperature.addEventListener("input", () => (form.querySelector("label output").value = temperature.value));
  for (const panel of panels) {
    panel.continue.addEventListener("click", () => {
      form.elements.prompt.value = panel.beginning;
      write();
      panel.output.focus();
    });
  }
}
