import { LabIcon } from '@jupyterlab/ui-components';

import changingSvg from '../../style/icons/changing.svg';
import failedSvg from '../../style/icons/failed.svg';
import servingSvg from '../../style/icons/serving.svg';
import workbenchSvg from '../../style/icons/workbench.svg';
import { make } from '../charts/elements';
import type { Status } from './describe';

/** The workbench's logo: numbered versions, stacked, the top one answering. */
export const workbenchIcon = new LabIcon({
  name: 'serving-workbench-lab:workbench',
  svgstr: workbenchSvg
});

/** A version's state. They differ in shape and not only in colour. */
export const statusIcons: Record<Status, LabIcon> = {
  serving: new LabIcon({ name: 'serving-workbench-lab:serving', svgstr: servingSvg }),
  changing: new LabIcon({ name: 'serving-workbench-lab:changing', svgstr: changingSvg }),
  failed: new LabIcon({ name: 'serving-workbench-lab:failed', svgstr: failedSvg })
};

/** A version's state as an icon of `size` pixels. */
export function statusIcon(status: Status, size = 10): HTMLElement {
  const container = make('span.wb-StatusIcon');
  statusIcons[status].element({ container, height: `${size}px`, width: `${size}px` });
  return container;
}
