// Tables can be saved as CSV.

// Text that a spreadsheet would take for a formula gets an apostrophe before it.
function csvCell(text) {
  const value = text.replace(/\s+/g, " ").trim();
  const safe = /^[=+\-@]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : value;
  return `"${safe.replaceAll('"', '""')}"`;
}

function save(name, rows) {
  const text = rows.map((row) => row.map(csvCell).join(",")).join("\r\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `${name}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

for (const table of document.querySelectorAll(".scroll table")) {
  const name = table.caption.textContent.trim().replace(/\W+/g, "-").toLowerCase();
  const cells = (row) => Array.from(row.cells).flatMap((cell) => [
    cell.textContent,
    ...Array(cell.colSpan - 1).fill(""),
  ]);
  const button = actionButton("CSV", "Saved", () => save(name, Array.from(table.rows, cells)));
  button.setAttribute("aria-label", `Save as CSV: ${table.caption.textContent.trim()}`);
  table.closest(".scroll").after(button);
}

// The table of documents: search, sort and paging.
const PAGE_ROWS = 20;

for (const place of document.querySelectorAll(".document-table")) {
  const { columns, rows } = JSON.parse(place.querySelector("script").textContent);
  const bits = columns.indexOf("bits");
  const view = { found: rows, page: 0, column: bits, ascending: false };
  const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

  const search = make("input", { type: "search", placeholder: "Search the table" });
  search.setAttribute("aria-label", "Search the table of documents");
  const scroll = make("div", { className: "scroll", tabIndex: 0 });
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Table: Documents");
  const table = make("table", { className: "wide" });
  table.createCaption().className = "unseen";
  table.caption.textContent = "Scores of the held-out documents";
  const heads = table.createTHead().insertRow();
  const body = table.createTBody();
  scroll.append(table);
  const status = make("span");
  status.setAttribute("role", "status");
  const back = make("button", { type: "button", className: "action", textContent: "Previous" });
  const forward = make("button", { type: "button", className: "action", textContent: "Next" });
  const csv = actionButton("CSV", "Saved", () => save("documents", [columns, ...view.found.map((row) => row.map(String))]));
  const pager = make("p", { className: "pager" });
  pager.append(back, forward, status, csv);
  place.append(search, scroll, pager);

  for (const [index, name] of columns.entries()) {
    const head = make("th", { scope: "col", className: typeof rows[0]?.[index] === "number" ? "n" : "" });
    head.append(make("button", { type: "button", className: "term", textContent: name }));
    head.firstChild.addEventListener("click", () => {
      view.ascending = view.column === index && !view.ascending;
      view.column = index;
      update();
    });
    heads.append(head);
  }

  function update() {
    const wanted = search.value.toLowerCase();
    const order = view.ascending ? 1 : -1;
    const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
    view.found = rows
      .filter((row) => row.some((cell) => String(cell).toLowerCase().includes(wanted)))
      .sort((a, b) => order * compare(a[view.column], b[view.column]));
    view.page = 0;
    draw();
  }

  function draw() {
    const begin = view.page * PAGE_ROWS;
    const end = Math.min(begin + PAGE_ROWS, view.found.length);
    body.replaceChildren(
      ...view.found.slice(begin, end).map((row) => {
        const line = make("tr");
        for (const [index, cell] of row.entries()) {
          const data = make("td", { className: typeof cell === "number" ? "n" : "" });
          data.append(make("bdi", { textContent: index === bits ? cell.toFixed(3) : cell }));
          line.append(data);
        }
        return line;
      }),
    );
    for (const [index, head] of [...heads.cells].entries()) {
      if (index === view.column) head.setAttribute("aria-sort", view.ascending ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    status.textContent = view.found.length ? `${begin + 1} to ${end} of ${view.found.length}` : "nothing found";
    back.disabled = view.page === 0;
    forward.disabled = end === view.found.length;
  }

  const turn = (pages) => {
    view.page += pages;
    draw();
  };
  search.addEventListener("input", update);
  back.addEventListener("click", () => turn(-1));
  forward.addEventListener("click", () => turn(1));
  update();
}
