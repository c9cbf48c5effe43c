// Unfolds a run: its data stand in the page as JSON and are drawn when it is opened. All of it enters as text.
(function () {
  "use strict";
  var source = document.getElementById("run-data");
  if (!source) { return; }
  var data = null;
  var svgSpace = "http://www.w3.org/2000/svg";

  function add(parent, name, text, kind) {
    var made = document.createElement(name);
    if (text !== undefined && text !== null) { made.textContent = text; }
    if (kind) { made.className = kind; }
    parent.appendChild(made);
    return made;
  }
  function shape(parent, name, attributes, text) {
    var made = document.createElementNS(svgSpace, name);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    if (text !== undefined) { made.textContent = text; }
    parent.appendChild(made);
    return made;
  }
  function pairs(parent, title, entries) {
    if (!entries.length) { return; }
    var section = add(parent, "section");
    add(section, "h4", title);
    var list = add(section, "dl", null, "pairs");
    entries.forEach(function (pair) {
      var row = add(list, "div");
      add(row, "dt", pair[0]);
      add(row, "dd", pair[1]);
    });
  }

  // One curve: 260 x 110 units, the ends of both axes named.
  function curve(parent, name, steps, values) {
    var low = Math.min.apply(null, values), high = Math.max.apply(null, values);
    var first = steps[0], last = steps[steps.length - 1];
    var figure = add(parent, "figure", null, "small");
    add(figure, "figcaption", name);
    var svg = shape(figure, "svg", { viewBox: "0 0 260 110", role: "img", "aria-label": name + " from " + values[0] +
      " at step " + first + " to " + values[values.length - 1] + " at step " + last + ", between " + low + " and " + high });
    var points = steps.map(function (step, place) {
      var x = 56 + 196 * (last > first ? (step - first) / (last - first) : 0.5);
      var y = 88 - 78 * (high > low ? (values[place] - low) / (high - low) : 0.5);
      return x.toFixed(1) + "," + y.toFixed(1);
    });
    shape(svg, "path", { d: "M56 6V90H254", "class": "frame" });
    shape(svg, "polyline", { points: points.join(" ") });
    shape(svg, "text", { x: 52, y: 14, "text-anchor": "end" }, high);
    shape(svg, "text", { x: 52, y: 90, "text-anchor": "end" }, low);
    shape(svg, "text", { x: 56, y: 104 }, first);
    shape(svg, "text", { x: 254, y: 104, "text-anchor": "end" }, last);
  }

  function log(parent, curves) {
    var table = {}, steps = [];
    curves.forEach(function (entry, column) {
      data.steps[entry[1]].forEach(function (step, place) {
        if (!table[step]) { table[step] = []; steps.push(step); }
        table[step][column] = entry[2][place];
      });
    });
    steps.sort(function (a, b) { return a - b; });
    var box = add(parent, "details", null, "log");
    add(box, "summary", "Log, " + steps.length + " steps");
    var scroll = add(box, "div", null, "scroll");
    scroll.tabIndex = 0;
    var sheet = add(scroll, "table");
    var head = add(add(sheet, "thead"), "tr");
    ["step"].concat(curves.map(function (entry) { return entry[0]; })).forEach(function (name) {
      add(head, "th", name).scope = "col";
    });
    var body = add(sheet, "tbody");
    steps.forEach(function (step) {
      var row = add(body, "tr");
      add(row, "th", step).scope = "row";
      curves.forEach(function (entry, column) {
        var value = table[step][column];
        add(row, "td", value === undefined ? "" : value);
      });
    });
  }

  function answers(parent, found) {
    if (!found.length) { return; }
    var head = add(parent, "h4", "Answers ");
    add(head, "span", "the first of each kind, in test order");
    var box = add(parent, "div", null, "answers");
    found.forEach(function (entry) {
      var one = add(box, "article", null, "answer");
      add(add(one, "h5", entry[1] + " "), "span", "test example " + entry[0]);
      var list = add(one, "dl");
      ["Prompt", "Reference", "Generated"].forEach(function (name, place) {
        add(list, "dt", name);
        add(add(list, "dd"), "pre", data.texts[entry[2 + place]]);
      });
    });
  }

  function draw(details) {
    data = data || JSON.parse(source.textContent);
    var run = data.runs[details.dataset.run];
    if (!run) { return; }
    var body = add(details, "div", null, "unfolded");
    run.problems.forEach(function (problem) { add(body, "p", problem, "warn"); });
    if (run.curves.length) {
      add(body, "h4", "Curves");
      var small = add(body, "div", null, "curves");
      run.curves.forEach(function (entry) { curve(small, entry[0], data.steps[entry[1]], entry[2]); });
      log(body, run.curves);
    }
    var columns = add(body, "div", null, "columns");
    pairs(columns, "Results", run.results);
    pairs(columns, "Specification", run.settings.concat(data.common.settings));
    pairs(columns, "Time", run.time);
    pairs(columns, "Environment", run.environment.concat(data.common.environment));
    pairs(columns, "Constant in the log", run.constant);
    answers(body, run.answers);
    details.dataset.drawn = "yes";
  }

  // The event does not bubble, but it can be caught on its way down.
  document.addEventListener("toggle", function (event) {
    var details = event.target;
    if (details.open && details.dataset && details.dataset.run && !details.dataset.drawn) { draw(details); }
  }, true);
})();
