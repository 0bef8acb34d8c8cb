// What a network wrote while it learned: a slider chooses the step.
for (const place of document.querySelectorAll(".learning")) {
  const stages = [...place.querySelectorAll(".stage")];
  const last = stages.length - 1;
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: last, value: last });
  slider.setAttribute("aria-label", `Step of ${place.getAttribute("aria-label")}`);
  const show = () => {
    stages.forEach((stage, index) => (stage.hidden = index !== Number(slider.value)));
    const about = stages[slider.value].querySelector(".about").textContent;
    slider.setAttribute("aria-valuetext", about.replace(/\s+/g, " ").trim());
  };
  slider.addEventListener("input", show);
  stages[0].before(slider);
  show();
}
