import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";

// The package by its public names, as its users import it: tsconfig.json has the same for the compiler and for tsx.
const src: string = fileURLToPath(new URL("src", import.meta.url));
const resolve = {
  alias: [
    { find: /^tsbpf\/layout$/, replacement: `${src}/btf/layout/index.ts` },
    { find: /^tsbpf\/lang\/net$/, replacement: `${src}/lang/net/index.ts` },
    { find: /^tsbpf\/uapi\/([\w-]+)$/, replacement: `${src}/uapi/$1.ts` },
    { find: /^tsbpf\/([\w-]+)$/, replacement: `${src}/$1/index.ts` },
  ],
};

// Whatever a test waits for may take long on a busy machine; vitest's own patience is one second.
const expect = { poll: { timeout: 10_000 } };

// Three projects: what needs no privileges, what needs CAP_BPF, and what is checked by the type checker alone.
const config: ViteUserConfig = defineConfig({
  test: {
    reporters: ["default"],
    projects: [
      {
        resolve,
        test: {
          name: "unit",
          env: { NO_COLOR: "1" }, // vitest itself sets FORCE_COLOR in its workers
          include: ["test/**/*.test.ts"],
          exclude: ["test/kernel/**"],
          // The default leaves one core free; on a machine with two that is one worker.
          maxWorkers: 2,
          testTimeout: 30_000,
          expect,
        },
      },
      {
        resolve,
        test: {
          name: "kernel",
          env: { NO_COLOR: "1" },
          include: ["test/kernel/**/*.test.ts"],
          globalSetup: ["test/support/kernel-setup.ts"],
          // One file at a time, behind the others: mounts and the trace are the machine's, and some tests look at them.
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          expect,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "types",
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ["test/types/**/*.test-d.ts"],
            tsconfig: "./tsconfig.json",
          },
        },
      },
    ],
  },
});

export default config;
