import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import type { Program } from "../../src/asm/program.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { VerifierError } from "../../src/kernel/verifier-error.ts";
import { writePage } from "../docs/page.ts";
import { createTestNet } from "../support/netns.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();

interface Module {
  readonly countProtocols: Program<"xdp">;
  readonly protocolCounts: Parameters<typeof BpfMap.create>[0];
}
const load = async (path: string): Promise<Module> => import(pathToFileURL(path).href) as Promise<Module>;

describeKernel("docs/writing-a-program.md", () => {
  test("its example counts", async () => {
    // Its five seconds are over when its input ends.
    using page = writePage((code) =>
      code.replace("await setTimeout(5_000)", "for await (const _ of process.stdin);"),
    );
    await using net = await createTestNet();
    const running = net.spawn("inside", process.execPath, ["--import", "tsx", page.example, "eth0"]);
    await running.waitFor("counting on eth0, in native mode\n", 30_000);
    expect(await net.ping({ count: 4 })).toMatchObject({ received: 4 });
    expect(await net.sendUdp({ count: 3 })).toEqual({ sent: 3 });
    running.child.stdin?.end();
    expect(await running.ended()).toEqual({
      stdout: "counting on eth0, in native mode\nprotocol 1: 4 packets\nprotocol 17: 3 packets\n",
      stderr: "",
      code: 0,
    });
    const { stdout } = await net.exec("inside", "ip", ["link", "show", "eth0"]);
    expect(stdout).not.toContain("xdp");
  });

  test("without its check the error shows the line that reads the packet", async () => {
    using page = writePage((code) => code.replace(/^.*jgt\(r1, r3.*\n/m, ""));
    const { countProtocols, protocolCounts } = await load(page.program);
    using map = BpfMap.create(protocolCounts, { sys });
    let error: unknown;
    try {
      BpfProgram.load(countProtocols, { sys, maps: [map] }).close();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(VerifierError);
    expect(error).toMatchObject({ sourceText: "ldxh(r1, [r2, ethhdr.h_proto])," });
    expect((error as VerifierError).state.get("r2")).toMatch(/^pkt/);
  });

  test("a program on a packet of one's own, as it says", async () => {
    using page = writePage();
    const { countProtocols, protocolCounts } = await load(page.program);
    using map = BpfMap.create(protocolCounts, { sys });
    using prog = BpfProgram.load(countProtocols, { sys, maps: [map] });
    expect(prog.testRun({ data: new Uint8Array(64) }).retval).toBe(2);
    expect([...map.entries()].every(([, count]) => count === 0n)).toBe(true);
    const tcp = new Uint8Array(64);
    tcp.set([0x08, 0x00], 12);
    tcp[23] = 6;
    prog.testRun({ data: tcp, repeat: 5 });
    expect(map.get(6)).toBe(5n);
  });
});
