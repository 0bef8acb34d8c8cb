// Once the page has loaded, replace the static picture of each chart by an interactive one. With
// `ast`, Vega interprets its expressions, so that the page's policy can forbid code made from text.
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
