"use strict";
// Three linked planes of a case on plain canvases: no WebGL, no network.
(async () => {
  const view = JSON.parse(document.getElementById("view").textContent);
  const [nx, ny, nz] = view.shape, names = Object.keys(view.images);

  const unpack = async packed => {
    const bytes = Uint8Array.from(atob(packed), c => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const mask = await unpack(view.mask), images = {};
  for (const name of names) images[name] = await unpack(view.images[name]);

  const state = { at: [...view.places.WT[1]], sequence: view.places.WT[0] };
  const strides = [1, nx, nx * ny];
  const colors = Object.fromEntries(view.classes.map(([value, , color]) => [value, color]));
  const element = id => document.getElementById(id);
  const planes = document.querySelector(".planes");

  // A slice as it is shown: both axes run against those of the volume.
  const panels = Object.entries(view.planes).map(([name, [right, up, through]]) => {
    const label = document.createElement("label"), canvas = document.createElement("canvas");
    const caption = document.createElement("span"), slider = document.createElement("input");
    slider.type = "range";
    slider.min = 0;
    slider.max = view.shape[through] - 1;
    slider.id = name;
    canvas.id = `${name}-canvas`;
    label.append(caption, slider);
    const panel = document.createElement("div");
    panel.append(canvas, label);
    planes.append(panel);
    const width = view.shape[right], height = view.shape[up];
    return {
      name, right, up, through, canvas, caption, slider, width, height,
      mm: [width * view.spacing[right], height * view.spacing[up]],
      small: Object.assign(document.createElement("canvas"), { width, height }),
      index(column, row) {
        return (width - 1 - column) * strides[right] + (height - 1 - row) * strides[up]
          + state.at[through] * strides[through];
      },
    };
  });
  planes.style.gridTemplateColumns = panels.map(panel => `${panel.mm[0]}fr`).join(" ");

  const shownClasses = () => new Set(
    [...document.querySelectorAll(".shown:checked")].map(box =>
      view.classes.find(([, name]) => name === box.value)[0]));

  const gray = panel => {
    const context = panel.small.getContext("2d");
    const picture = context.createImageData(panel.width, panel.height);
    const volume = images[state.sequence], gain = element("brightness").value / 100;
    const filled = element("style").value === "filled", shown = shownClasses();
    for (let row = 0, i = 0; row < panel.height; row++) {
      for (let column = 0; column < panel.width; column++, i += 4) {
        const at = panel.index(column, row), value = Math.min(255, volume[at] * gain);
        const color = filled && shown.has(mask[at]) ? colors[mask[at]] : null;
        for (let part = 0; part < 3; part++) {
          const tint = color ? parseInt(color.slice(1 + 2 * part, 3 + 2 * part), 16) : value;
          picture.data[i + part] = (value + tint) / 2;
        }
        picture.data[i + 3] = 255;
      }
    }
    context.putImageData(picture, 0, 0);
    return panel.small;
  };

  // Each class is drawn along the inner side of its border, so that neighbors stay apart.
  const outline = (context, panel, sx, sy, ratio) => {
    const inset = 0.75 * ratio;
    for (const value of shownClasses()) {
      const inside = (c, r) => c >= 0 && r >= 0 && c < panel.width && r < panel.height
        && mask[panel.index(c, r)] === value;
      context.beginPath();
      for (let r = 0; r < panel.height; r++) {
        for (let c = 0; c < panel.width; c++) {
          if (!inside(c, r)) continue;
          const [x0, x1] = [c * sx, (c + 1) * sx], [y0, y1] = [r * sy, (r + 1) * sy];
          const line = (ax, ay, bx, by) => { context.moveTo(ax, ay); context.lineTo(bx, by); };
          if (!inside(c - 1, r)) line(x0 + inset, y0, x0 + inset, y1);
          if (!inside(c + 1, r)) line(x1 - inset, y0, x1 - inset, y1);
          if (!inside(c, r - 1)) line(x0, y0 + inset, x1, y0 + inset);
          if (!inside(c, r + 1)) line(x0, y1 - inset, x1, y1 - inset);
        }
      }
      context.strokeStyle = colors[value];
      context.lineWidth = 1.5 * ratio;
      context.stroke();
    }
  };

  const write = (context, word, x, y, align, baseline) => {
    context.textAlign = align;
    context.textBaseline = baseline;
    context.strokeText(word, x, y);
    context.fillText(word, x, y);
  };

  const marks = (context, panel, w, h, ratio) => {
    const edge = 4 * ratio;
    context.font = `${13 * ratio}px system-ui, sans-serif`;
    context.fillStyle = "#fff";
    context.strokeStyle = "#000";
    context.lineWidth = 3 * ratio;
    const [left, right] = view.ends[panel.right], [top, bottom] = view.ends[panel.up];
    write(context, left, edge, h / 2, "left", "middle");
    write(context, right, w - edge, h / 2, "right", "middle");
    write(context, top, w / 2, edge, "center", "top");
    write(context, bottom, w / 2, h - edge, "center", "bottom");
    const length = [100, 50, 20, 10, 5, 2, 1].find(mm => mm <= 0.4 * panel.mm[0]) || 1;
    const pixels = length / panel.mm[0] * w, y = h - 2 * edge;
    context.fillRect(w - edge - pixels, y, pixels, 2 * ratio);
    write(context, `${length} mm`, w - edge - pixels / 2, y - edge / 2, "center", "bottom");
  };

  const cross = (context, panel, sx, sy, ratio) => {
    const x = (panel.width - 0.5 - state.at[panel.right]) * sx;
    const y = (panel.height - 0.5 - state.at[panel.up]) * sy;
    context.strokeStyle = "rgba(255, 255, 255, 0.35)";
    context.lineWidth = ratio;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, panel.height * sy);
    context.moveTo(0, y);
    context.lineTo(panel.width * sx, y);
    context.stroke();
  };

  const draw = () => {
    for (const panel of panels) {
      const { canvas } = panel, ratio = window.devicePixelRatio || 1;
      canvas.style.aspectRatio = `${panel.mm[0]} / ${panel.mm[1]}`;
      const w = canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
      const h = canvas.height = Math.max(1, Math.round(w * panel.mm[1] / panel.mm[0]));
      const context = canvas.getContext("2d"), sx = w / panel.width, sy = h / panel.height;
      context.imageSmoothingQuality = "high";
      context.drawImage(gray(panel), 0, 0, w, h);
      if (element("style").value === "outline") outline(context, panel, sx, sy, ratio);
      if (element("cross").checked) cross(context, panel, sx, sy, ratio);
      marks(context, panel, w, h, ratio);
      const index = state.at[panel.through];
      panel.slider.value = index;
      panel.caption.textContent = `${panel.name}, slice ${index + 1} of ${view.shape[panel.through]}`;
    }
    for (const button of element("sequences").children) {
      button.setAttribute("aria-pressed", button.value === state.sequence);
    }
    const at = state.at, value = mask[at[0] + at[1] * nx + at[2] * nx * ny];
    const mm = [0, 1, 2].map(row => view.affine[row].reduce((sum, v, i) => sum + v * (i < 3 ? at[i] : 1), 0));
    const found = view.classes.find(([number]) => number === value);
    document.querySelector(".where").textContent =
      `${state.sequence} at x, y, z (RAS) = ${mm.map(v => v.toFixed(0)).join(", ")} mm: `
      + (found ? found[1] : "no tumor");
  };

  let waiting = false;
  const redraw = () => {
    if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
    waiting = true;
  };
  const move = (axis, to) => {
    state.at[axis] = Math.max(0, Math.min(view.shape[axis] - 1, Math.round(to)));
    redraw();
  };

  for (const name of names) {
    const button = document.createElement("button");
    button.type = "button";
    button.value = button.textContent = name;
    button.addEventListener("click", () => { state.sequence = name; redraw(); });
    element("sequences").append(button);
  }
  for (const panel of panels) {
    const point = event => {
      const box = panel.canvas.getBoundingClientRect();
      move(panel.right, panel.width - 0.5 - (event.clientX - box.left) / box.width * panel.width);
      move(panel.up, panel.height - 0.5 - (event.clientY - box.top) / box.height * panel.height);
    };
    panel.canvas.addEventListener("pointerdown", point);
    panel.canvas.addEventListener("pointermove", event => { if (event.buttons & 1) point(event); });
    panel.canvas.addEventListener("wheel", event => {
      event.preventDefault();
      move(panel.through, state.at[panel.through] - Math.sign(event.deltaY));
    }, { passive: false });
    panel.slider.addEventListener("input", () => move(panel.through, Number(panel.slider.value)));
  }
  for (const button of document.querySelectorAll("button[data-region]")) {
    button.addEventListener("click", () => {
      [state.sequence, state.at] = [view.places[button.dataset.region][0], [...view.places[button.dataset.region][1]]];
      redraw();
      planes.scrollIntoView({ block: "nearest" });
    });
  }
  element("settings").addEventListener("input", redraw);
  window.addEventListener("resize", redraw);

  for (const part of document.querySelectorAll(".needs-viewer")) part.hidden = false;
  document.body.classList.add("live");
  draw();
})();
