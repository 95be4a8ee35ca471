// `node --import` this: scripts then find the packages installed beside this file, wherever the scripts are.
import { register } from 'node:module';

register('./hooks.mjs', import.meta.url);
