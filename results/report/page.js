"use strict";
// Sorting, filtering, the list of all numbers, and the details of a number. All text is set as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("records").textContent);

  const value = (table, name, row) => {
    const column = table.columns[name];
    if (!column) return null;
    if (column.x) return column.x[row];
    return column.v[column.i ? column.i[row] : 0];
  };
  const get = (row, name) =>
    name in data.records.columns ? value(data.records, name, row) : value(data.jobs, name, value(data.records, "job", row));
  const empty = (item) => item === null || item === undefined || item === "";
  const plain = (item) => (typeof item === "object" ? JSON.stringify(item) : String(item));
  const make = (tag, text, parent, name) => {
    const made = document.createElement(tag);
    if (!empty(text)) made.textContent = text;
    if (name) made.className = name;
    if (parent) parent.append(made);
    return made;
  };
  const short = (number, unit) => {
    if (number === null) return "";
    if (unit === "percent") return number.toFixed(2);
    return Math.abs(number) >= 1000 ? Math.round(number).toLocaleString("en") : String(Number(number.toPrecision(4)));
  };
  const who = (row) => {
    const variant = get(row, "variant");
    const label = get(row, "label");
    return (label ? `${label}: ` : "") + get(row, "model") + (variant ? ` [${variant}]` : "");
  };
  const setting = (row) => data.at.filter((name) => !empty(get(row, name))).map((name) => `${name}=${get(row, name)}`).join(" ");
  const outcome = (row) => (get(row, "status") === "ok" ? `${short(get(row, "value"), get(row, "unit"))} ${get(row, "unit") || ""}`.trim() : get(row, "status"));
  const rowsOf = (refs) => refs.split(",").flatMap((part) => {
    const [first, last] = part.split("-").map(Number);
    return Array.from({ length: (last ?? first) - first + 1 }, (_, i) => first + i);
  });

  // The details of a number.
  let within = null; // the list of numbers that the dialog shows, to go back to
  const dialog = document.getElementById("behind");
  const title = document.getElementById("behind-title");
  const body = dialog.querySelector(".body");
  const pairs = (heading, found) => {
    const shown = found.filter(([, item]) => !empty(item) && plain(item) !== "{}");
    if (!shown.length) return;
    make("h3", heading, body);
    const list = make("dl", "", body);
    for (const [name, item] of shown) {
      make("dt", name, list);
      make("dd", plain(item), list);
    }
  };
  const named = (row, names) => names.map((name) => [name.replace("_", " "), get(row, name)]);
  const starting = (row, start) => Object.keys(data.jobs.columns).filter((name) => name.startsWith(start)).map((name) => [name.slice(start.length), get(row, name)]);
  const explain = (row) => {
    const number = get(row, "number");
    const on = get(row, "task") ? ` on ${get(row, "task")}` : "";
    title.textContent = get(row, "status") === "ok" ? `${get(row, "metric")}: ${outcome(row)}` : `${get(row, "status")}: ${who(row)}${on}`;
    pairs("What", [["model", who(row)], ...named(row, ["weights", "task", "suite", "protocol", "seed"]),
      ...data.at.map((name) => [name, get(row, name)]), ["value, not rounded", get(row, "value")], ["verdict", get(row, "verdict")], ["error", get(row, "error")]]);
    const command = get(row, "command");
    if (command) {
      make("h3", "Command that repeats it", body);
      const block = make("pre", "", body);
      make("code", command, block);
      block.tabIndex = 0;
    }
    pairs("Images", [["to train on", get(row, "n_train")], ["scored", get(row, "n_test")], ["left out", get(row, "n_skipped")], ["from", get(row, "source")]]);
    pairs("Question (the same for all that may stand beside it)", Object.entries(get(row, "question") || {}));
    pairs("Treatment (may differ between models)", Object.entries(get(row, "treatment") || {}));
    pairs("Settings of the suite", Object.entries(get(row, "settings") || {}));
    pairs("Weights", [["trained on", get(row, "pretrain")], ...starting(row, "pretrain.")]);
    pairs("Digests", [["weights", get(row, "weights_sha")], ["split", get(row, "split_sha")], ["question", get(row, "protocol_sha")], ["treatment", get(row, "treatment_sha")]]);
    pairs("Files read", (get(row, "files") || []).map((text, i) => [String(i + 1), text]));
    pairs("Where it is kept", [["run", data.sources[get(row, "run")]], ["record", empty(number) ? get(row, "key") : `${get(row, "key")}/${number}`]]);
    pairs("Versions and machine", [["made", get(row, "started_at")], ["seconds of the whole job", get(row, "seconds")], ["device", get(row, "device")], ...starting(row, "env.")]);
  };
  const back = (list) => {
    const button = make("button", `Back to the ${list.rows.length} numbers`, body, "more");
    button.type = "button";
    button.addEventListener("click", () => show(list.rows, list.text));
  };
  const choose = (rows, text) => {
    title.textContent = `${text}: made of ${rows.length} numbers`;
    const values = rows.map((row) => get(row, "value"));
    const metrics = new Set(rows.map((row) => get(row, "metric")));
    if (metrics.size === 1 && values.every((number) => number !== null)) {
      make("p", `Their plain mean, not rounded: ${values.reduce((a, b) => a + b, 0) / values.length}`, body);
    }
    const table = make("table", "", make("div", "", body, "scroll"), "data");
    make("caption", "Click a number for its details", table);
    const headings = make("tr", "", make("thead", "", table));
    const shown = [["model", who], ["task", (row) => get(row, "task")], ["setting", setting], ["seed", (row) => get(row, "seed")], ["metric", (row) => get(row, "metric")]]
      .filter(([, column], i) => !i || rows.some((row) => !empty(column(row))));
    for (const [name] of [...shown, ["value"]]) make("th", name, headings, name === "value" ? "" : "label").scope = "col";
    const lines = make("tbody", "", table);
    for (const row of rows) {
      const line = make("tr", "", lines);
      const head = make("th", "", line);
      head.scope = "row";
      make("span", who(row), head);
      for (const [, column] of shown.slice(1)) make("td", column(row), line, "text");
      const button = make("button", outcome(row), make("td", "", line), "n");
      button.type = "button";
      button.dataset.r = row;
    }
  };
  const show = (rows, text, list) => {
    body.replaceChildren();
    if (list) back(list);
    if (rows.length === 1) explain(rows[0]);
    else choose(rows, text);
    within = rows.length === 1 ? null : { rows, text };
    if (!dialog.open) dialog.showModal();
    body.scrollTop = 0;
    title.focus();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.n");
    if (button) show(rowsOf(button.dataset.r), button.textContent, dialog.contains(button) ? within : null);
    else if (event.target === dialog) dialog.close();
  });
  document.addEventListener("pointerover", (event) => {
    const button = event.target.closest?.("button.n");
    if (!button || button.title) return;
    const rows = rowsOf(button.dataset.r);
    const seeds = new Set(rows.map((row) => get(row, "seed")).filter((seed) => seed !== null));
    const first = rows[0];
    const parts = [`${get(first, "metric") || get(first, "status")} of ${who(first)}`, get(first, "task"), setting(first)];
    if (rows.length > 1) parts.push(`${rows.length} numbers`);
    if (seeds.size) parts.push(`seed ${[...seeds].join(", ")}`);
    parts.push(data.sources[get(first, "run")]);
    button.title = parts.filter((part) => !empty(part)).join("; ");
  });

  // The tab key stops once in a table; the arrow keys move between its numbers.
  const cells = (table) => [...table.querySelectorAll("button.n")].filter((button) => button.offsetParent !== null);
  const oneStop = (table) => cells(table).forEach((button, i) => { button.tabIndex = i ? -1 : 0; });
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  document.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const cell = event.target.closest?.("button.n")?.parentElement;
    const table = cell?.closest("table.data");
    if (!step || !table) return;
    event.preventDefault();
    const rows = [...table.querySelectorAll("tbody tr")].filter((row) => !row.hidden && !row.parentElement.hidden);
    let [r, c] = [rows.indexOf(cell.parentElement), cell.cellIndex];
    for (;;) {
      r += step[0];
      c += step[1];
      const target = rows[r]?.cells[c];
      if (!target) return;
      const button = target.querySelector("button.n");
      if (!button) continue;
      event.target.tabIndex = -1;
      button.tabIndex = 0;
      button.focus();
      return;
    }
  });

  // Sorting: numbers before words, empty cells last. A block of rows is sorted by its first row that is not empty.
  const key = (cells) => {
    const text = cells.map((cell) => cell.textContent.trim()).find((text) => text) ?? "";
    const number = /^[+\-\u2212]?[\d,]*\.?\d+(e[+-]?\d+)?/i.exec(text);
    const whole = /^\d+\/\d+/.test(text);
    return [text === "" ? 2 : number && !whole ? 0 : 1, number ? Number(number[0].replace(/,/g, "").replace("\u2212", "-")) : 0, text];
  };
  const compare = (a, b, sign) =>
    a[0] - b[0] || (a[0] === 0 ? sign * (a[1] - b[1]) : sign * a[2].localeCompare(b[2], "en", { numeric: true }));
  const sortBy = (heading) => {
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const before = heading.getAttribute("aria-sort");
    const numeric = !heading.classList.contains("label");
    const down = before ? before === "ascending" : numeric; // numbers start with the greatest
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    return [column, down ? -1 : 1, table];
  };
  for (const table of document.querySelectorAll("main > section:not(#numbers) table.data")) {
    table.querySelector("thead").addEventListener("click", (event) => {
      const heading = event.target.closest(".sort")?.closest("th");
      if (!heading) return;
      const [column, sign] = sortBy(heading);
      const blocks = [...table.tBodies].map((block, i) => [key([...block.rows].map((row) => row.cells[column])), i, block]);
      blocks.sort((a, b) => compare(a[0], b[0], sign) || a[1] - b[1]);
      table.append(...blocks.map((found) => found[2]));
      table.classList.add("sorted");
      oneStop(table);
    });
    oneStop(table);
  }

  // Files to keep, and the pairs of the comparison: compressed by zlib, in base64.
  const inflate = (text) => {
    const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).blob();
  };
  const keep = (blob, name) => {
    const link = make("a", "", document.body);
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  const types = { csv: "text/csv", tex: "application/x-tex", svg: "image/svg+xml", pdf: "application/pdf" };
  for (const button of document.querySelectorAll("button.get")) {
    const { name, z } = button.dataset;
    button.setAttribute("aria-label", `Keep ${name}`);
    button.closest(".keep").hidden = false;
    button.addEventListener("click", async () => keep(new Blob([await inflate(z)], { type: types[name.split(".").pop()] }), name));
  }

  // Gains over a baseline: of each pair the difference is stored once, and turned round where the baseline stands first.
  const turned = (word) => word.replace(/^(better|worse)/, (found) => (found === "better" ? "worse" : "better"));
  const filled = (contest, all) => {
    const table = contest.querySelector("table");
    const [baselines, subjects] = ["baseline", "subject"].map((name) => contest.querySelector(`select.${name}`));
    for (const i of all.baselines) make("option", all.models[i], baselines).value = i;
    all.subjects.forEach((subject, i) => { make("option", subject.name, subjects).value = i; });
    baselines.value = all.chosen;
    const fill = () => {
      const base = Number(baselines.value);
      const subject = all.subjects[subjects.value];
      const digits = subject.ratio ? 3 : 2;
      const found = new Map();
      for (const [i, j, delta, low, high, p, word] of subject.pairs) {
        const turn = (number) => (number === null ? null : subject.ratio ? 1 / number : -number);
        if (j === base) found.set(i, [delta, low, high, p, all.words[word]]);
        if (i === base) found.set(j, [turn(delta), turn(high), turn(low), p, turned(all.words[word])]);
      }
      const none = subject.ratio ? 1 : 0;
      const reach = Math.max(1e-9, ...[...found.values()].flatMap(([, low, high]) => [low, high]).map((end) => (end === null ? 0 : Math.abs(end - none))));
      const text = (number) => (number === null ? "" : (subject.ratio ? "" : number < 0 ? "\u2212" : "+") + Math.abs(number).toFixed(digits));
      const order = all.models.map((_, i) => i).filter((i) => subject.values[i] !== null);
      order.sort((a, b) => (subject.less ? 1 : -1) * (subject.values[a] - subject.values[b]) || a - b);
      for (const body of [...table.tBodies]) body.remove();
      for (const heading of table.querySelectorAll("[aria-sort]")) heading.removeAttribute("aria-sort");
      for (const i of order) {
        const line = make("tr", "", make("tbody", "", table), i === base ? "base" : "");
        const head = make("th", "", line);
        head.scope = "row";
        make("span", all.models[i], head);
        make("td", subject.values[i].toFixed(digits), line);
        make("td", subject.ranks[i], line);
        const [delta, low, high, p, word] = found.get(i) ?? [null, null, null, "", i === base ? "baseline" : ""];
        make("td", text(delta), line);
        make("td", low === null ? "" : `[${text(low)}, ${text(high)}]`, line);
        const drawn = make("span", "", make("td", "", line), "gain");
        drawn.ariaHidden = "true";
        if (low !== null) {
          const bar = make("span", "", drawn, word.startsWith("better") ? "up" : word.startsWith("worse") ? "down" : "");
          bar.style.left = `${50 + (50 * (low - none)) / reach}%`;
          bar.style.width = `${(50 * (high - low)) / reach}%`;
        }
        make("td", p, line);
        make("td", word, line, "text");
      }
      const measure = subject.ratio ? "its number divided by the baseline's" : "its number minus the baseline's";
      contest.querySelector("caption span").textContent = `${subject.name}: each model against ${all.models[base]}, ${measure}`;
      contest.querySelector("input").dispatchEvent(new Event("input"));
    };
    for (const select of [baselines, subjects]) select.addEventListener("change", fill);
    contest.querySelector(".csv").addEventListener("click", () => {
      const quoted = (cell) => `"${cell.textContent.replace(/"/g, '""')}"`;
      const texts = [...table.rows].map((line) => [...line.cells].filter((_, i) => i !== 5).map(quoted).join(","));
      keep(new Blob([texts.join("\n") + "\n"], { type: "text/csv" }), `${contest.id}.csv`);
    });
    fill();
    contest.hidden = false;
  };
  for (const contest of document.querySelectorAll(".contest")) {
    inflate(contest.dataset.z).then((blob) => blob.text()).then((text) => filled(contest, JSON.parse(text)));
  }

  // Filtering: a row must contain every word.
  const matches = (words, text) => words.every((word) => text.includes(word));
  const split = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const sheet of document.querySelectorAll(".sheet:not(#all)")) {
    const input = sheet.querySelector("input");
    if (!input) continue;
    input.addEventListener("input", () => {
      const blocks = [...sheet.querySelectorAll("tbody")];
      const words = split(input);
      for (const block of blocks) block.hidden = !matches(words, block.textContent.toLowerCase());
      const left = blocks.filter((block) => !block.hidden).length;
      sheet.querySelector("output").textContent = words.length ? `${left} of ${blocks.length}` : "";
      oneStop(sheet.querySelector("table"));
    });
  }

  // The list of all numbers, made a hundred rows at a time.
  const all = document.getElementById("all");
  const lines = all.querySelector("tbody");
  const input = all.querySelector("input");
  const selects = [...all.querySelectorAll("select")];
  const columns = [
    (row) => get(row, "suite"), who, (row) => get(row, "weights"), (row) => get(row, "task"), setting, (row) => get(row, "seed"),
    (row) => get(row, "metric"), (row) => get(row, "value"), (row) => get(row, "unit"), (row) => get(row, "n_test"),
  ];
  const every = Array.from({ length: data.records.n }, (_, row) => row);
  const texts = every.map((row) => columns.map((column) => column(row) ?? "").join(" ").toLowerCase());
  let order = every;
  let chosen = every;
  let shown = 0;
  const more = () => {
    for (const row of chosen.slice(shown, shown + 100)) {
      const line = make("tr", "", lines);
      columns.forEach((column, i) => {
        const item = column(row);
        const cell = make(i ? "td" : "th", "", line, i === 5 || i === 7 || i === 9 ? "" : "text");
        if (!i) cell.scope = "row";
        if (i !== 7) {
          make("span", i === 9 && item !== null ? item.toLocaleString("en") : item, cell);
          return;
        }
        const button = make("button", get(row, "status") === "ok" ? short(item, get(row, "unit")) : get(row, "status"), cell, "n");
        button.type = "button";
        button.dataset.r = row;
      });
    }
    shown = Math.min(shown + 100, chosen.length);
    all.querySelector(".more").hidden = shown >= chosen.length;
    all.querySelector("output").textContent = `${chosen.length.toLocaleString("en")} of ${every.length.toLocaleString("en")} numbers` + (shown < chosen.length ? `, ${shown} shown` : "");
    oneStop(all.querySelector("table"));
  };
  const list = () => {
    const words = split(input);
    chosen = order.filter((row) => matches(words, texts[row]) && selects.every((select) => !select.value || String(get(row, select.name) ?? "") === select.value));
    lines.replaceChildren();
    shown = 0;
    more();
  };
  for (const select of selects) {
    make("option", "all", select).value = "";
    for (const name of new Set(every.map((row) => get(row, select.name)))) if (!empty(name)) make("option", name, select).value = name;
    select.addEventListener("change", list);
  }
  input.addEventListener("input", list);
  all.querySelector(".more").addEventListener("click", more);
  all.querySelector("thead").addEventListener("click", (event) => {
    const heading = event.target.closest(".sort")?.closest("th");
    if (!heading) return;
    const [column, sign] = sortBy(heading);
    const keys = every.map((row) => {
      const item = columns[column](row);
      return [empty(item) ? 2 : typeof item === "number" ? 0 : 1, typeof item === "number" ? item : 0, String(item ?? "")];
    });
    order = every.slice().sort((a, b) => compare(keys[a], keys[b], sign) || a - b);
    list();
  });
  all.hidden = false;
  list();
})();
