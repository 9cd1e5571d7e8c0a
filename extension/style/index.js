import 'uplot/dist/uPlot.min.css';
import './live.css';
import './views.css';
import './base.css';
import './dashboard.css';
import './welcome.css';
