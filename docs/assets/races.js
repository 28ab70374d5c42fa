// Curves of a race: point to read, press a name to hide or show. No library.
document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".race").forEach(draw))

function draw(box) {
  const race = JSON.parse(box.querySelector("script").textContent)
  const W = 720, H = 340, L = 52, R = 10, T = 10, B = 34
  const ns = "http://www.w3.org/2000/svg"
  const make = (tag, attributes, parent) => {
    const element = document.createElementNS(ns, tag)
    for (const key in attributes) element.setAttribute(key, attributes[key])
    parent.append(element)
    return element
  }
  const themed = colour => ({"#000000": "var(--black)", "#0072B2": "var(--blue)"})[colour] || colour
  const write = x => race.percent ? (100 * x).toFixed(race.digits) + "%" : x.toFixed(race.digits)
  const last = line => line.points[line.points.length - 1][1]
  const order = [...race.lines].sort((a, b) => (race.higher ? -1 : 1) * (last(a) - last(b)))
  const hidden = new Set(order.slice(6).map(line => line.name))
  let end = false
  const tools = document.createElement("div"); tools.className = "tools"
  const label = document.createElement("label"), tick = document.createElement("input")
  tick.type = "checkbox"; label.append(tick, " the last third only"); tools.append(label)
  const bands = document.createElement("label"), tick2 = document.createElement("input")
  tick2.type = "checkbox"; tick2.checked = true; bands.append(tick2, " bands over the seeds"); tools.append(bands)
  const svg = document.createElementNS(ns, "svg")
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`); svg.setAttribute("role", "img")
  svg.setAttribute("aria-label", `${race.task}: ${race.metric} over steps`)
  const said = document.createElement("p"); said.className = "said"
  const legend = document.createElement("div"); legend.className = "legend"
  box.append(tools, svg, said, legend)
  tick.onchange = () => { end = tick.checked; paint() }
  tick2.onchange = () => paint()
  for (const line of order) {
    const button = document.createElement("button")
    button.type = "button"; button.textContent = `${line.name} ${write(last(line))}`
    button.style.setProperty("--c", themed(line.color))
    button.setAttribute("aria-pressed", !hidden.has(line.name))
    button.onclick = () => {
      hidden.has(line.name) ? hidden.delete(line.name) : hidden.add(line.name)
      button.setAttribute("aria-pressed", !hidden.has(line.name)); paint()
    }
    legend.append(button)
  }
  let scale
  function paint() {
    svg.replaceChildren()
    const shown = order.filter(line => !hidden.has(line.name))
    const most = Math.max(...race.lines.flatMap(line => line.points.map(p => p[0])))
    const first = end ? most * 2 / 3 : 0
    const seen = shown.flatMap(line => line.points.filter(p => p[0] >= first))
    let values = seen.map(p => p[1]).sort((a, b) => a - b)
    if (!values.length) return
    const cut = Math.floor(values.length * (end ? 0 : 0.05))
    let low = race.higher ? values[cut] : values[0], high = race.higher ? values[values.length - 1] : values[values.length - 1 - cut]
    const room = (high - low || Math.abs(high) || 1) * 0.05
    low -= room; high += room
    const x = s => L + (s - first) / (most - first) * (W - L - R)
    const y = v => T + (high - Math.min(Math.max(v, low), high)) / (high - low) * (H - T - B)
    scale = {first, most, x, y, shown}
    const step = nice((high - low) / 5)
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) {
      make("line", {x1: L, x2: W - R, y1: y(v), y2: y(v), class: "grid"}, svg)
      make("text", {x: L - 6, y: y(v) + 4, "text-anchor": "end"}, svg).textContent = race.percent ? +(100 * v).toFixed(2) + "%" : +v.toPrecision(4)
    }
    const across = nice((most - first) / 5)
    for (let s = Math.ceil(first / across) * across; s <= most; s += across)
      make("text", {x: x(s), y: H - B + 16, "text-anchor": "middle"}, svg).textContent = s
    make("text", {x: W - R, y: H - 3, "text-anchor": "end"}, svg).textContent = `steps, each ${race.unit}; ${race.metric}`
    if (race.target > low && race.target < high) make("line", {x1: L, x2: W - R, y1: y(race.target), y2: y(race.target), class: "target"}, svg)
    for (const line of shown) {
      const points = line.points.filter(p => p[0] >= first)
      if (tick2.checked && points.some(p => p[3] > p[2]))
        make("path", {d: "M" + points.map(p => `${x(p[0])} ${y(p[3])}`).join("L") + "L" + points.toReversed().map(p => `${x(p[0])} ${y(p[2])}`).join("L") + "Z", fill: themed(line.color), opacity: 0.12}, svg).style.fill = themed(line.color)
      const drawn = make("path", {d: "M" + points.map(p => `${x(p[0])} ${y(p[1])}`).join("L"), fill: "none", "stroke-width": 1.8, "stroke-dasharray": line.dashes.map(d => d * 1.6).join(" ")}, svg)
      drawn.style.stroke = themed(line.color)
    }
  }
  const point = event => {
    const at = svg.getBoundingClientRect(), s = scale && scale.first + ((event.clientX - at.left) / at.width * W - L) / (W - L - R) * (scale.most - scale.first)
    const v = (event.clientY - at.top) / at.height * H
    let best = null
    for (const line of scale ? scale.shown : []) for (const p of line.points) {
      const far = Math.abs(p[0] - s) / (scale.most - scale.first) * W + Math.abs(scale.y(p[1]) - v)
      if (!best || far < best.far) best = {far, line, p}
    }
    if (!best) return
    const {line, p} = best
    said.textContent = `${line.name} (rate ${line.rate}), step ${p[0]}: ${write(p[1])}, seeds from ${write(p[2])} to ${write(p[3])}`
    svg.querySelector(".mark")?.remove()
    make("circle", {cx: scale.x(p[0]), cy: scale.y(p[1]), r: 4, class: "mark"}, svg).style.fill = themed(line.color)
  }
  svg.onpointermove = point
  svg.onpointerdown = point
  paint()
}

function nice(x) {
  const power = 10 ** Math.floor(Math.log10(x))
  return [1, 2, 5, 10].map(d => d * power).find(d => d >= x)
}
