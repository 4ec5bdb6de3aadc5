// The page of rankings: a choice shows its ranking at once, and the slider says its number while it moves.
(() => {
  "use strict";
  const form = document.querySelector("[data-ask-for]");
  const [slider, number] = [form.elements.diversity, form.querySelector("output")];
  slider.addEventListener("input", () => { number.textContent = Number(slider.value).toFixed(1); });
  form.addEventListener("change", () => form.requestSubmit());
})();
