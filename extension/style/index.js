import 'uplot/dist/uPlot.min.css';
import '../src/widgets/style.css';
import './base.css';
import './dashboard.css';
import './welcome.css';
