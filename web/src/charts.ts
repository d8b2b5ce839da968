// What has happened in the last minutes, drawn by uPlot.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { h, say } from "./dom.ts";
import { colour } from "./theme.ts";

/** How many readings are kept: fifteen minutes. */
export const KEPT = 900;
const HEIGHT = 180;

export interface Line {
  name: string;
  colour: string;
}

/** A chart with its title and, for whoever does not see it, its last values in words. */
export class Chart {
  readonly element: HTMLElement;
  readonly #plot: uPlot;
  readonly #caption: HTMLElement;
  readonly #values: HTMLElement[];

  constructor(
    readonly title: string,
    readonly lines: Line[],
    readonly show: (value: number | null) => string,
    /** What the axis reaches at least. */
    least = 1,
  ) {
    const canvas = h("div", { class: "plot", role: "img", "aria-label": `${title}, the last minutes` });
    this.#values = lines.map(() => h("b", {}, "–"));
    const legend = lines.map((line, at) =>
      h("span", { class: "key" }, h("i", { class: `line ${line.colour}` }), `${line.name} `, this.#values[at] ?? ""),
    );
    this.#caption = h("figcaption", {}, h("h3", {}, title), h("p", { class: "legend" }, ...legend));
    this.element = h("figure", { class: "card" }, this.#caption, canvas);
    const grid = { stroke: () => colour("line"), width: 1 };
    const axis: uPlot.Axis = { stroke: () => colour("muted"), grid, ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width: 400,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false },
        scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, least)] } },
        axes: [
          { ...axis, space: 70, size: 30, values: "{HH}:{mm}:{ss}" },
          { ...axis, size: 72, values: (_, ticks) => ticks.map((tick) => this.show(tick)) },
        ],
        series: [
          {},
          ...lines.map((line) => ({
            label: line.name,
            stroke: () => colour(line.colour),
            width: 2,
            spanGaps: false,
            points: { show: false },
          })),
        ],
      },
      [[], ...lines.map(() => [])],
      canvas,
    );
    new ResizeObserver(() => {
      const width = Math.floor(canvas.clientWidth);
      if (width > 0) this.#plot.setSize({ width, height: HEIGHT });
    }).observe(canvas);
  }

  /** Shows values, in columns, at times in milliseconds. */
  draw(times: number[], columns: (number | null)[][]): void {
    this.#plot.setData([times.map((time) => time / 1_000), ...columns]);
    columns.forEach((column, at) => {
      const value = this.#values[at];
      if (value) say(value, this.show(column.at(-1) ?? null));
    });
  }

  /** Draws it again, in the colours of now. */
  redraw(): void {
    this.#plot.redraw();
  }
}
