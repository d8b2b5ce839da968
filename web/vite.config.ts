import { defineConfig } from "vite";

// Names without hashes: the agent serves fixed paths with an ETag, and a build changes no more than what has changed.
export default defineConfig({
  build: {
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: { entryFileNames: "page.js", assetFileNames: "page[extname]" },
    },
  },
});
