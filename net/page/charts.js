// Charts of the last two minutes: one line or two over the same scale, a point for every second.

const chartPoints = 120;
const chartWidth = 240;
const chartHeight = 60;

function svg(name, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The least of 1, 2, 5, 10, 20, ... that is not below the largest value.
function roundUp(value) {
  for (let step = 1; ; step *= 10) {
    for (const factor of [1, 2, 5]) {
      if (factor * step >= value) return factor * step;
    }
  }
}

class Chart {
  // `lines`: one name or two. `top`: where the scale ends; without it, above the largest value. `show`: a value as text.
  constructor(figure, { title, lines, top, show }) {
    this.title = title;
    this.lines = lines;
    this.top = top;
    this.show = show;
    this.series = lines.map(() => []);
    this.value = element('div', 'value', '–');
    this.most = element('span', 'most');
    this.now = element('div', 'now');
    this.now.append(this.value, this.most);
    this.plot = svg('svg', {
      class: 'plot', viewBox: `0 0 ${chartWidth} ${chartHeight}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title,
    });
    this.area = svg('path', { class: 'area' });
    this.paths = lines.map((_, i) => svg('path', { class: i === 0 ? 'first' : 'second' }));
    this.plot.append(svg('line', { x1: 0, x2: chartWidth, y1: 0.5, y2: 0.5 }), this.area, ...this.paths);
    figure.append(this.caption(), this.now, this.plot, this.axis());
  }

  caption() {
    const caption = element('figcaption', '', this.title);
    if (this.lines.length < 2) return caption;
    const legend = element('span');
    this.lines.forEach((name, i) => {
      legend.append(element('span', i === 0 ? 'swatch' : 'swatch second'), `${name} `);
    });
    caption.append(legend);
    return caption;
  }

  axis() {
    const axis = element('div', 'axis');
    axis.append(element('span', '', '2 min ago'), element('span', '', 'now'));
    return axis;
  }

  // `values`: one for each line; null where nothing is known. `text` is the large figure, `unit` stands behind it.
  add(values, text, unit) {
    this.series.forEach((series, i) => {
      series.push(values[i]);
      if (series.length > chartPoints) series.shift();
    });
    setText(this.value, text);
    if (unit) this.value.append(element('small', '', unit));
    this.draw();
  }

  draw() {
    const largest = Math.max(0, ...this.series.flat().filter((value) => value !== null));
    const top = this.top ?? roundUp(largest);
    setText(this.most, this.show(top));
    this.paths.forEach((path, i) => path.setAttribute('d', linePath(this.series[i], top)));
    this.area.setAttribute('d', areaPath(this.series[0], top));
    const now = this.series.map((series, i) => {
      const value = series[series.length - 1];
      return `${this.lines[i]} ${value === null ? 'not known' : this.show(value)}`;
    });
    this.plot.setAttribute('aria-label', `${this.title}, two minutes: now ${now.join(', ')}; highest ${this.show(largest)}`);
  }
}

const chartX = (series, i) => ((i + chartPoints - series.length) / (chartPoints - 1)) * chartWidth;
const chartY = (value, top) => chartHeight - 1 - (value / top) * (chartHeight - 3);

function linePath(series, top) {
  let path = '';
  series.forEach((value, i) => {
    if (value === null) return;
    const begins = i === 0 || series[i - 1] === null;
    path += `${begins ? 'M' : 'L'}${chartX(series, i).toFixed(1)} ${chartY(value, top).toFixed(1)}`;
  });
  return path;
}

function areaPath(series, top) {
  const points = series.map((value, i) => [chartX(series, i), chartY(value ?? 0, top)]);
  if (points.length < 2) return '';
  const line = points.map(([x, y]) => `L${x.toFixed(1)} ${y.toFixed(1)}`).join('');
  return `M${points[0][0].toFixed(1)} ${chartHeight}${line}L${points[points.length - 1][0].toFixed(1)} ${chartHeight}Z`;
}
