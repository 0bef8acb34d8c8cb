// Where a chart comes into view, its still picture gives way to a live one of the same
// specification. `ast` has Vega interpret its expressions, so that the page's policy can forbid
// code made from text.
const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      const specification = JSON.parse(target.querySelector("script").textContent);
      vegaEmbed(target.querySelector(".picture"), specification, {
        actions: false,
        ast: true,
        defaultStyle: false,
        renderer: "svg",
        tooltip: { disableDefaultStyle: true },
      });
    }
  },
  { rootMargin: "50%" },
);
for (const chart of document.querySelectorAll(".chart")) observer.observe(chart);
