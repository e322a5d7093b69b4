"use strict";
// The page works without this: it only opens what a link leads to, in browsers that do not do
// so themselves, and adds two buttons.
(() => {
  const reveal = () => {
    let id = "";
    try { id = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    const target = id && document.getElementById(id);
    if (!target) return;
    for (let one = target.closest("details"); one; one = one.parentElement.closest("details")) {
      one.open = true;
    }
    (target.closest("details") || target).scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  // A second click on the same cell changes no hash.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) reveal();
  });
  reveal();

  const bar = document.createElement("p");
  bar.className = "tools";
  const arms = () => document.querySelectorAll("details.arm");
  for (const [label, open] of [["Open all arms", true], ["Close all arms", false]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => arms().forEach((one) => { one.open = open; }));
    bar.append(button);
  }
  const first = document.querySelector("section.scenario");
  if (first) first.before(bar);
})();
