/** The labs' routes, and a function each. */

import { ServerConnection } from '@jupyterlab/services';

import { request } from '../api';
import type { ILab } from './progress';

/** All labs, in their order. */
export async function listLabs(settings: ServerConnection.ISettings): Promise<readonly ILab[]> {
  return (await request<{ labs: ILab[] }>(settings, 'labs?no_track_activity=1')).labs;
}

/** See to it that a lab lies in the user's files; resolves to its path. */
export async function ensureLab(
  settings: ServerConnection.ISettings,
  name: string
): Promise<string> {
  return (await request<{ path: string }>(settings, 'labs', 'POST', { name })).path;
}
