// Once the page stands, each chart's still picture gives way to a live one of the same
// specification. `ast` has Vega interpret its expressions, so that the page's policy can forbid
// code made from text.
for (const chart of document.querySelectorAll(".chart")) {
  const specification = JSON.parse(chart.querySelector("script").textContent);
  const options = {
    actions: false,
    ast: true,
    defaultStyle: false,
    renderer: "svg",
    tooltip: { disableDefaultStyle: true },
  };
  setTimeout(() => vegaEmbed(chart.querySelector(".picture"), specification, options));
}
