/** Colours: the page's own where it has a theme, and data's, told apart by colour-blind readers. */

export interface ITheme {
  dark: boolean;
  /** Text and axes. */
  ink: string;
  soft: string;
  grid: string;
  surface: string;
}

/** Okabe and Ito's palette, in the order of versions; the second is for dark backgrounds. */
const VERSIONS = {
  light: ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#8c6d00', '#56b4e9'],
  dark: ['#56b4e9', '#ff9f43', '#2bd4a4', '#e6a3c6', '#f0e442', '#8ab8ff']
};

const FAILED = { light: '#b00020', dark: '#ff6b81' };
const HELD = { light: '#7a5195', dark: '#c9a6e8' };

export function themeOf(element: Element): ITheme {
  const style = getComputedStyle(element);
  const value = (name: string, fallback: string) =>
    style.getPropertyValue(name).trim() || fallback;
  const named = document.body.dataset.jpThemeLight;
  const dark =
    named !== undefined
      ? named === 'false'
      : matchMedia('(prefers-color-scheme: dark)').matches;
  return {
    dark,
    ink: value('--jp-ui-font-color1', dark ? '#e6e6e6' : '#1f2328'),
    soft: value('--jp-ui-font-color2', dark ? '#a0a0a0' : '#656d76'),
    grid: value('--jp-border-color2', dark ? '#424242' : '#e3e6ea'),
    surface: value('--jp-layout-color1', dark ? '#111111' : '#ffffff')
  };
}

/** The colour of a version: the same in every chart, whichever versions are shown. */
export function versionColour(version: number, dark: boolean): string {
  const colours = dark ? VERSIONS.dark : VERSIONS.light;
  return colours[(((version - 1) % colours.length) + colours.length) % colours.length];
}

export function failedColour(dark: boolean): string {
  return dark ? FAILED.dark : FAILED.light;
}

export function heldColour(dark: boolean): string {
  return dark ? HELD.dark : HELD.light;
}

/** `colour` with an opacity between 0 and 1. */
export function faded(colour: string, opacity: number): string {
  const value = Number.parseInt(colour.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${opacity})`;
}

/** Call `redraw` when the page changes between light and dark; returns what ends that. */
export function onThemeChange(redraw: () => void): () => void {
  const observer = new MutationObserver(redraw);
  observer.observe(document.body, {
    attributes: true,
    attributeFilter: ['data-jp-theme-name', 'data-jp-theme-light', 'class']
  });
  const media = matchMedia('(prefers-color-scheme: dark)');
  media.addEventListener('change', redraw);
  return () => {
    observer.disconnect();
    media.removeEventListener('change', redraw);
  };
}
