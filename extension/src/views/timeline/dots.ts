/** Dots over time, too many to draw all of them.
 *
 * Time is divided into tiles of some pixel columns. A tile keeps one dot for each cell of the picture
 * (column, height, version, failed or not), and is computed once, when it first becomes visible. Cells
 * do not move with the view, so dots do not flicker while a reader scrolls.
 */

import type { Version } from '../../protocol/version';

/** When, microseconds, version, status code (0: answered), how many requests it stands for. */
export type Dot = [number, number, Version | null, number, number];

const TILE_COLUMNS = 64;
/** Distinct heights for each factor of ten of latency. */
const HEIGHTS = 40;
const TILES_KEPT = 64;

interface ITile {
  dots: Dot[];
  least: number;
  most: number;
}

export class Dots {
  /** Dots examined since the beginning: the cost of drawing, for the tests. */
  examined = 0;
  private _all: Dot[] = [];
  private readonly _tiles = new Map<number, ITile>();
  private _column = 0;
  private readonly _kept: number;

  constructor(kept: number) {
    this._kept = kept;
  }

  get size(): number {
    return this._all.length;
  }

  add(dot: Dot): void {
    const last = this._all[this._all.length - 1];
    if (last === undefined || last[0] <= dot[0]) {
      this._all.push(dot);
    } else {
      this._all.splice(this._from(dot[0]), 0, dot);
    }
    if (this._tiles.size > 0) {
      this._tiles.delete(Math.floor(dot[0] / (this._column * TILE_COLUMNS)));
    }
  }

  /** Forget dots older than `before`, and the oldest of those beyond the limit. */
  forget(before: number): void {
    const surplus = Math.max(this._from(before), this._all.length - this._kept);
    // In large steps, because each step moves all dots that stay.
    if (surplus > this._all.length / 8 || surplus > this._kept / 8) {
      this._all.splice(0, surplus);
      this._tiles.clear();
    }
  }

  clear(): void {
    this._all = [];
    this._tiles.clear();
  }

  /** The dots to draw from `start` to `end` in so many columns, and their range of latencies. */
  visible(
    start: number,
    end: number,
    columns: number
  ): { tiles: Dot[][]; least: number; most: number } {
    // A power of two, so that a small change of width keeps the tiles.
    const column = 2 ** Math.round(Math.log2((end - start) / Math.max(1, columns)));
    if (column !== this._column) {
      this._column = column;
      this._tiles.clear();
    }
    const width = column * TILE_COLUMNS;
    const found = { tiles: [] as Dot[][], least: Infinity, most: 0 };
    for (let index = Math.floor(start / width); index * width <= end; index += 1) {
      const tile = this._tile(index, width);
      found.tiles.push(tile.dots);
      found.least = Math.min(found.least, tile.least);
      found.most = Math.max(found.most, tile.most);
    }
    return found;
  }

  private _tile(index: number, width: number): ITile {
    const known = this._tiles.get(index);
    if (known !== undefined) {
      return known;
    }
    const tile: ITile = { dots: [], least: Infinity, most: 0 };
    const taken = new Set<string>();
    const end = (index + 1) * width;
    for (let i = this._from(index * width); i < this._all.length && this._all[i][0] < end; i += 1) {
      const dot = this._all[i];
      const [at, micros, version, code] = dot;
      this.examined += 1;
      const height = code === 0 ? Math.round(Math.log10(Math.max(1, micros)) * HEIGHTS) : 'failed';
      const cell = `${Math.floor(at / this._column)}/${height}/${version}`;
      if (!taken.has(cell)) {
        taken.add(cell);
        tile.dots.push(dot);
        if (code === 0) {
          tile.least = Math.min(tile.least, micros);
          tile.most = Math.max(tile.most, micros);
        }
      }
    }
    if (this._tiles.size >= TILES_KEPT) {
      this._tiles.delete(this._tiles.keys().next().value as number);
    }
    this._tiles.set(index, tile);
    return tile;
  }

  /** The place of the first dot at or after a time. */
  private _from(time: number): number {
    let [low, high] = [0, this._all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this._all[middle][0] < time) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}
