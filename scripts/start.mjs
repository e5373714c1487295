// `npm start`: does the set-up that is missing, then serves the chat page with the isolation headers.
import { ensureDependencies, ensureKernels, root, say } from './setup.mjs';

ensureDependencies();
await ensureKernels();
const { createServer } = await import('vite');
const server = await createServer({ configFile: `${root}vite.config.ts` });
await server.listen();
say('the chat page, on the embedded model:');
server.printUrls();
server.bindCLIShortcuts({ print: true });
