// Each chart's still picture gives way to a live one of the same specification. `ast` has Vega
// interpret its expressions, so that the page's policy can forbid code made from text.
for (const chart of document.querySelectorAll(".chart")) {
  const specification = JSON.parse(chart.querySelector("script").textContent);
  const place = chart.querySelector(".picture");
  vegaEmbed(place, specification, {
    actions: false,
    ast: true,
    defaultStyle: false,
    renderer: "svg",
    tooltip: { disableDefaultStyle: true },
  });
}
