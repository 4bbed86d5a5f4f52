import './tokens.css';
import './app.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { live } from './lib/live.svelte';
import { prefs } from './lib/prefs.svelte';
import { route } from './lib/router.svelte';
import { listen } from './lib/session.svelte';

prefs.apply();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => prefs.apply());
route.start();
live.start();
listen();
mount(App, { target: document.getElementById('app') as HTMLElement });
