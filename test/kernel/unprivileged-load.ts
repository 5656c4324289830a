/** Run by program.test.ts without capabilities: prints what the loader says then. */
import { mov32 } from "../../src/asm/alu.ts";
import { exit } from "../../src/asm/jump.ts";
import { mapDef } from "../../src/asm/map-def.ts";
import { program, xdp } from "../../src/asm/program.ts";
import { r0 } from "../../src/asm/register.ts";
import { TsbpfError } from "../../src/base/error.ts";
import { u32 } from "../../src/btf/layout/index.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";

const nothing = { entry: [mov32(r0, 2), exit()] };
const attempts = {
  xdp: () => BpfProgram.load(xdp("denied", nothing)),
  socket_filter: () => BpfProgram.load(program("socket_filter", "filter", nothing)),
  map: () => BpfMap.create(mapDef({ name: "denied", type: "cpumap", key: u32, value: u32, maxEntries: 1 })),
};

const results = Object.entries(attempts).map(([name, attempt]) => {
  try {
    attempt().close();
    return [name, "taken"];
  } catch (error) {
    if (!(error instanceof TsbpfError)) throw error;
    return [name, error.message];
  }
});
process.stdout.write(JSON.stringify(Object.fromEntries(results)));
