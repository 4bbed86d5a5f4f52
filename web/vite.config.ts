import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { licences } from './scripts/licences.js';

export default defineConfig({
  plugins: [svelte(), licences()],
  build: {
    target: 'es2022',
    outDir: 'build',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      // The parts that pages share are one file, which compresses better than many small ones.
      output: {
        advancedChunks: {
          includeDependenciesRecursively: false,
          groups: [
            { name: 'parts', test: /src[\\/](ui|lib)[\\/](?!Editor|Graph|Document|Rule|Tester|Trial|Usage)/, minShareCount: 2 },
            { name: 'metering', test: /src[\\/]pages[\\/](Events|Trace|Sessions|OneSession|Pipelines|Meters|OneMeter|MeterTypes|Records|OneRecord)\.svelte/ },
            { name: 'act', test: /src[\\/]pages[\\/](Corrections|Group|OneCorrection|Deliveries|OneTarget|OneDelivery|Reconcile|OneNotice|Keys|Audit|Settings|System|Start)\.svelte/ },
          ],
        },
      },
    },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8888', '/ui': 'http://127.0.0.1:8888', '/health': 'http://127.0.0.1:8888' } },
});
