/** The colours of the page's theme, and data colours that colour-blind readers can distinguish. */

import { FAILED_COLOUR, PROCESS_COLOUR, VERSION_COLOURS } from '../protocol/generated';
import { placeOfVersion, type Version } from '../protocol/version';

export interface ITheme {
  dark: boolean;
  /** A high-contrast theme, or colours that the reader's system forces upon pages. */
  contrast: boolean;
  /** Text and axes. */
  ink: string;
  soft: string;
  grid: string;
  surface: string;
}

const FORCED = '(forced-colors: active)';
const MORE = '(prefers-contrast: more)';
const DARK = '(prefers-color-scheme: dark)';

export function themeOf(element: Element): ITheme {
  const style = getComputedStyle(element);
  const value = (name: string, fallback: string) => style.getPropertyValue(name).trim() || fallback;
  const { jpThemeLight: named, jpThemeName: name } = document.body.dataset;
  const forced = matchMedia(FORCED).matches;
  // Forced colours replace those of the page's theme.
  const dark = named !== undefined && !forced ? named === 'false' : matchMedia(DARK).matches;
  if (forced) {
    // A canvas is not repainted by the browser, so it takes the system's colours itself.
    return {
      dark,
      contrast: true,
      ink: 'CanvasText',
      soft: 'CanvasText',
      grid: 'GrayText',
      surface: 'Canvas'
    };
  }
  const ink = value('--jp-ui-font-color1', dark ? '#e6e6e6' : '#1f2328');
  const contrast = /high.contrast/i.test(name ?? '') || matchMedia(MORE).matches;
  return {
    dark,
    contrast,
    ink,
    soft: contrast ? ink : value('--jp-ui-font-color2', dark ? '#a0a0a0' : '#656d76'),
    grid: value('--jp-border-color2', dark ? '#424242' : '#e3e6ea'),
    surface: value('--jp-layout-color1', dark ? '#111111' : '#ffffff')
  };
}

/** The colour of a version: the same in every chart, whichever versions are shown. */
export function versionColour(version: Version, dark: boolean): string {
  const colours = dark ? VERSION_COLOURS.dark : VERSION_COLOURS.light;
  return colours[placeOfVersion(version, colours.length)];
}

export function failedColour(dark: boolean): string {
  return dark ? FAILED_COLOUR.dark : FAILED_COLOUR.light;
}

/** The colour of what belongs to no version. */
export function processColour(dark: boolean): string {
  return dark ? PROCESS_COLOUR.dark : PROCESS_COLOUR.light;
}

/** `colour` with an opacity between 0 and 1. */
export function faded(colour: string, opacity: number): string {
  const value = Number.parseInt(colour.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${opacity})`;
}

/** JupyterLab names its new theme while the page is hidden for a frame. */
const SETTLED_MILLIS = 100;

/** Call `redraw` whenever the page's colours change; returns a function that ends this. */
export function onThemeChange(redraw: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const change = () => {
    redraw();
    clearTimeout(timer);
    timer = setTimeout(redraw, SETTLED_MILLIS);
  };
  const observer = new MutationObserver(change);
  observer.observe(document.body, {
    attributes: true,
    attributeFilter: ['data-jp-theme-name', 'data-jp-theme-light', 'class']
  });
  const medias = [FORCED, MORE, DARK].map(query => matchMedia(query));
  for (const media of medias) {
    media.addEventListener('change', change);
  }
  return () => {
    clearTimeout(timer);
    observer.disconnect();
    for (const media of medias) {
      media.removeEventListener('change', change);
    }
  };
}
