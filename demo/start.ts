import './isolated';
import './page-state';
import './app';
