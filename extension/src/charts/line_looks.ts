/** How lines of latency and throughput are drawn: Okabe and Ito's colours; dashes distinguish the
 * lines as well. */

import type { ITheme } from './theme';

export const LINE_LOOKS = {
  p50: { light: '#0072b2', dark: '#56b4e9', dash: [1.5, 3] },
  p90: { light: '#00795a', dark: '#2bd4a4', dash: [6, 4] },
  p99: { light: '#c44f00', dark: '#ff9f43', dash: [] },
  achieved: { light: '#0072b2', dark: '#56b4e9', dash: [] }
} as const;

export function lineColour(name: keyof typeof LINE_LOOKS, theme: ITheme): string {
  return theme.dark ? LINE_LOOKS[name].dark : LINE_LOOKS[name].light;
}
