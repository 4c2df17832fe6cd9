"use strict";
/* A point of the plot leads to its page; a family in the lineage shows its kin. */
(() => {
  for (const canvas of document.querySelectorAll("[data-figure] .canvas")) {
    canvas.on?.("plotly_click", (event) => {
      const page = event.points[0]?.customdata;
      if (page) location.href = page;
    });
  }

  const map = document.querySelector(".lineage");
  if (!map) return;
  const told = document.getElementById("told");
  const edges = [...map.querySelectorAll(".edge")];
  const ideas = new Map([...map.querySelectorAll(".idea")].map((idea) => [idea.dataset.family, idea]));
  const show = (family) => {
    const own = edges.filter((edge) => edge.dataset.from === family || edge.dataset.to === family);
    const near = new Set([family, ...own.flatMap((edge) => [edge.dataset.from, edge.dataset.to])]);
    map.classList.toggle("picked", Boolean(family));
    for (const edge of edges) edge.classList.toggle("near", own.includes(edge));
    for (const [name, idea] of ideas) idea.classList.toggle("near", near.has(name));
    told.textContent = family ? own.map((edge) => edge.textContent).join("; ") || family : "\u00a0";
  };
  for (const [family, idea] of ideas) {
    const link = idea.closest("a") ?? idea;
    for (const event of ["pointerenter", "focus"]) link.addEventListener(event, () => show(family));
    for (const event of ["pointerleave", "blur"]) link.addEventListener(event, () => show(null));
  }
})();
