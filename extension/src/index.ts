/** The plugins. Each is small, and works where an optional part of JupyterLab is missing. */

import { dashboardPlugin } from './plugins/dashboard_plugin';
import { glossaryPlugin } from './plugins/glossary_plugin';
import { quickstartPlugin } from './plugins/quickstart_plugin';
import { runningPlugin } from './plugins/running_plugin';
import { servePlugin } from './plugins/serve_plugin';
import { serversPlugin } from './plugins/servers_plugin';
import { statusPlugin } from './plugins/status_plugin';
import { welcomePlugin } from './plugins/welcome_plugin';

export { CommandIDs, IModelServers } from './servers/tokens';

export default [
  serversPlugin,
  quickstartPlugin,
  dashboardPlugin,
  welcomePlugin,
  glossaryPlugin,
  servePlugin,
  runningPlugin,
  statusPlugin
];
