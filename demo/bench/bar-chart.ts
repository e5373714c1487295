/**
 * Horizontal bars as plain SVG. Lengths are percentages, so that a chart fits any width and its letters keep their size;
 * every value stands above its bar.
 */

export interface Bar {
  name: string;
  value: number;
  /** The value as people read it. */
  shown: string;
  chosen?: boolean;
}

/** A bound that no bar can pass. */
export interface Roof {
  name: string;
  value: number;
}

const ROW = 44;

function shape(name: string, attributes: Record<string, string | number>, text?: string): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/** @param title what the chart shows, for those who do not see it; the values are read out with it */
export function barChart(title: string, bars: Bar[], roof?: Roof): SVGElement {
  const top = roof ? 24 : 0;
  const height = top + bars.length * ROW;
  const most = Math.max(...bars.map(({ value }) => value), roof?.value ?? 0) || 1;
  const percent = (value: number): string => `${((100 * value) / most).toFixed(2)}%`;
  const values = bars.map(({ name, shown }) => `${name}: ${shown}`).join('; ');
  const words = `${title}. ${values}${roof ? `; ${roof.name}` : ''}`;
  const chart = shape('svg', { role: 'img', 'aria-label': words, height });
  for (const [index, { name, value, shown, chosen }] of bars.entries()) {
    const y = top + index * ROW;
    chart.append(
      shape('text', { class: 'name', x: 0, y: y + 14 }, name),
      shape('rect', { class: 'track', x: 0, y: y + 20, width: '100%', height: 14, rx: 2 }),
      shape('rect', {
        class: chosen ? 'bar chosen' : 'bar',
        x: 0,
        y: y + 20,
        width: percent(value),
        height: 14,
        rx: 2,
      }),
      shape('text', { x: '100%', y: y + 14, 'text-anchor': 'end' }, shown),
    );
  }
  if (roof) {
    const x = percent(roof.value);
    chart.append(shape('text', { class: 'roof-name', x, y: 13, 'text-anchor': 'end' }, roof.name));
    for (const index of bars.keys()) {
      const y = top + index * ROW + 17;
      chart.append(shape('line', { class: 'roof', x1: x, x2: x, y1: y, y2: y + 20 }));
    }
  }
  return chart;
}
