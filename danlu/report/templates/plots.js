"use strict";
/* Plots: figures come as data with colours by name ("--accent"); a switch picks the view; theme, width and print redraw. */
(() => {
  const touch = matchMedia("(pointer: coarse)").matches;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const narrow = 560;

  const resolve = (value, style) => {
    if (typeof value === "string") return /^--[a-z0-9-]+$/.test(value) ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return value.map((item) => resolve(item, style));
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, style)]));
    return value;
  };

  const axis = (own, small) => ({
    automargin: true, gridcolor: "--line", zeroline: false, linecolor: "--faint", tickcolor: "--faint", ticks: "outside", ticklen: 4,
    tickfont: { color: "--muted", size: small ? 10.5 : 12 }, ...own,
    title: { font: { color: "--muted", size: small ? 12 : 13 }, standoff: 10, ...(own.title ?? {}) },
  });

  const thin = (axis, most) => {
    const step = Math.ceil((axis.tickvals?.length ?? 0) / most);
    if (step > 1) for (const key of ["tickvals", "ticktext"]) axis[key] = axis[key].filter((_, i) => i % step === 0);
  };

  const dress = (figure, view, width) => {
    const small = width < narrow;
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", width,
      height: figure.square ? Math.min(width, figure.square) : small ? figure.phone : figure.height,
      margin: { l: small ? 44 : 60, r: small ? 10 : 20, t: 16, b: 44 },
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, xanchor: "left", font: { color: "--ink", size: small ? 11 : 12.5 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "--muted", activecolor: "--accent" },
      hoverlabel: { bgcolor: "--card", bordercolor: "--faint", align: "left", font: { color: "--ink", size: 12.5 }, namelength: -1 },
      // A finger that drags over a plot wants to scroll the page.
      dragmode: touch || small ? false : "zoom",
      ...view.layout,
    };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) if (layout[name]) layout[name] = axis(layout[name], small);
    if (figure.square) {
      layout.margin = { l: 10, r: 10, t: 10, b: 10 };
      layout.yaxis = { ...layout.yaxis, scaleanchor: "x", scaleratio: 1 };
      if (small) {
        thin(layout.xaxis, Math.floor(width / 26));
        thin(layout.yaxis, Math.floor(width / 26));
      }
    } else if (small) {
      thin(layout.xaxis, 4);
      layout.xaxis.tickangle = 0;
    }
    const style = getComputedStyle(document.documentElement);
    layout.font = { family: style.getPropertyValue("--sans").trim(), color: "--ink", size: 13 };
    layout.hoverlabel.font.family = layout.font.family;
    return { data: resolve(view.data, style), layout: resolve(layout, style) };
  };

  const config = {
    displaylogo: false, responsive: false, doubleClick: "reset", showTips: false, plotlyServerURL: "",
    modeBarButtons: [["toImage", "resetScale2d"]], displayModeBar: touch ? false : "hover",
  };

  const draw = (box, wanted) => {
    const figure = figures[box.dataset.figure];
    const key = [...box.querySelectorAll("input:checked")].map((input) => input.value).join("/");
    const view = figure.views[key] ?? figure.views[Object.keys(figure.views)[0]];
    const canvas = box.querySelector(".canvas");
    const width = Math.floor(wanted ?? canvas.clientWidth);
    if (width < 50) return;
    const { data, layout } = dress(figure, view, width);
    canvas.dataset.view = key;
    Plotly.react(canvas, data, layout, config);
  };

  const boxes = [...document.querySelectorAll("[data-figure]")];
  const all = (width) => boxes.forEach((box) => draw(box, width));
  for (const box of boxes) {
    for (const fallback of box.querySelectorAll("noscript")) fallback.remove();
    box.addEventListener("change", () => draw(box));
  }
  all();

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar changes the height only
    width = innerWidth;
    requestAnimationFrame(() => all());
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all());
  matchMedia("print").addEventListener("change", (event) => all(event.matches ? 660 : undefined));
})();
