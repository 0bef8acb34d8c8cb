// The label of the mark under the pointer appears beside it.
const tooltip = document.createElement("p");
tooltip.className = "tooltip";
tooltip.hidden = true;
document.body.append(tooltip);
for (const picture of document.querySelectorAll(".picture")) {
  picture.addEventListener("pointermove", (event) => {
    const mark = event.target.closest(".mark-symbol [aria-label], .mark-rect [aria-label]");
    tooltip.hidden = !mark;
    if (!mark) return;
    tooltip.textContent = mark.getAttribute("aria-label");
    const room = document.documentElement.clientWidth - tooltip.offsetWidth - 8;
    tooltip.style.left = `${Math.max(8, Math.min(event.clientX + 12, room))}px`;
    tooltip.style.top = `${event.clientY + 16}px`;
  });
  picture.addEventListener("pointerleave", () => (tooltip.hidden = true));
}
