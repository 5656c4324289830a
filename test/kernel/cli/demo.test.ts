import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { onOneCore, type PacketTrace } from "../../../src/cli/demo/correlate.ts";
import type { Status } from "../../../src/cli/sample/status.ts";
import { listNamespaces } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { cli, expectGone, objectsOf, startCli, until } from "./harness.ts";

const namespacesOf = (pid: number | undefined): readonly string[] =>
  listNamespaces().filter((name) => new RegExp(`^tsbpf-(demo|kept)-${pid}(-peer)?$`).test(name));

/** A ping that sends nothing and says so. */
function silentPing(): { readonly env: Record<string, string> } & Disposable {
  const directory = mkdtempSync(join(tmpdir(), "tsbpf-ping-"));
  writeFileSync(join(directory, "ping"), "#!/bin/sh\necho 3 packets transmitted, 0 received\nexit 1\n");
  chmodSync(join(directory, "ping"), 0o755);
  return {
    env: { PATH: `${directory}:${process.env["PATH"]}` },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

describeKernel("demo", () => {
  test("three at the same time: one kept, one as JSON, both prove every packet; one is told of losses", async () => {
    using lossy = silentPing();
    const failing = startCli(["demo"], { env: lossy.env });
    const kept = startCli(["demo", "--keep"]);
    const asJson = startCli(["demo", "--json"]);
    expect(await asJson.ended).toBe(0);
    const { packets, problems, lines } = JSON.parse(asJson.output()) as {
      readonly packets: readonly (PacketTrace & { readonly kind: string; readonly sentFrom: number })[];
      readonly problems: readonly string[];
      readonly lines: readonly { readonly hook: string }[];
    };
    expect(problems).toEqual([]);
    for (const packet of packets)
      expect([packet, onOneCore(packet), packet.xdp]).toEqual([packet, true, packet.sentFrom]);
    for (const cpu of [0, 1]) {
      const of = (kind: string) =>
        packets.filter((packet) => packet.sentFrom === cpu && packet.kind === kind);
      expect([of("ping").length, of("UDP").length]).toEqual([3, 3]);
      expect(of("TCP").length).toBeGreaterThanOrEqual(6);
    }
    expect(new Set(lines.map(({ hook }) => hook))).toEqual(new Set(["XDP", "TC ingress", "TC egress"]));
    expect(namespacesOf(asJson.child.pid)).toEqual([]);

    expect(await kept.ended).toBe(0);
    const output = kept.output();
    for (const kind of ["ping", "UDP", "TCP"]) {
      for (const cpu of [0, 1]) expect(output).toContain(`${kind} from core ${cpu}: 3 of 3 answered\n`);
    }
    expect(output).toMatch(
      /\[001\] \S+ +\d+\.\d+: bpf_trace_printk: \[XDP {7}\] cpu=1\n.*\[001\].*\[TC ingress\] cpu=1\n.*\[001\].*\[TC egress \] cpu=1\n/,
    );
    expect(output).toMatch(/│ 1 +│ ping +│ core 0 │ core 0 +│ core 0 +│ yes +│/);
    expect(output).not.toContain("NO");
    const [, good, all] =
      /(\d+) of (\d+) packets: XDP, TC ingress and TC egress on one core\./.exec(output) ?? [];
    expect(good).toBe(all);

    expect(await failing.ended).toBe(1);
    expect(failing.output()).toContain("ping from core 1: 0 of 3 answered\n");
    expect(failing.output()).toMatch(
      /packets on one core\. What is wrong:\n {2}ping from core 0: only 0 of 3 were answered\n {2}ping from core 1: only/,
    );
    expect(namespacesOf(failing.child.pid)).toEqual([]);

    // What it says about playing and removing can be typed as it stands.
    const inner = `tsbpf-kept-${kept.child.pid}`;
    expect(namespacesOf(kept.child.pid)).toHaveLength(2);
    for (const line of [
      `status --netns ${inner}`,
      `down --all --netns ${inner}`,
      `ip netns del ${inner}; ip netns`,
    ]) {
      expect(output).toContain(line);
    }
    const told = JSON.parse((await cli(["status", "--json", "--netns", inner])).stdout) as Status;
    expect(told.interfaces).toMatchObject([{ interface: "eth0", xdp: { mode: "native" } }]);
    expect((await cli(["down", "eth0", "--netns", inner])).code).toBe(0);
    await expectGone(objectsOf(told));

    for (const name of namespacesOf(kept.child.pid)) execFileSync("ip", ["netns", "del", name]);
  });

  test.each([
    { signal: "SIGINT", when: "ping from core 0" },
    { signal: "SIGTERM", when: "eth0: up" },
  ] as const)("$signal after `$when` leaves nothing", async ({ signal, when }) => {
    const running = startCli(["demo"]);
    await running.printed(when);
    const inner = `tsbpf-demo-${running.child.pid}`;
    const pins = /pins +(\S+)/.exec(running.output())?.[1] ?? "";
    expect(existsSync(pins)).toBe(true);
    expect(namespacesOf(running.child.pid)).toEqual([inner, `${inner}-peer`]);
    const mapId = Number(/CPU map +map (\d+)/.exec(running.output())?.[1]);
    const program = Number(/XDP +program (\d+)/.exec(running.output())?.[1]);
    running.child.kill(signal);
    expect(await running.ended).toBe(1);
    expect(running.output()).toMatch(/error: interrupted: everything was taken back\n$/);
    expect(namespacesOf(running.child.pid)).toEqual([]);
    await expectGone({ programs: [program], maps: [mapId] });
    await until("the pins are gone", () => !existsSync(pins));
  });

  test("what a killed one left goes with the next, which may be ended as well", async () => {
    const killed = startCli(["demo"]);
    await killed.printed("eth0: up");
    const pins = /pins +(\S+)/.exec(killed.output())?.[1] ?? "";
    killed.child.kill("SIGKILL");
    await killed.ended;
    // Unless another demo, or another run of these tests, is so fast, two namespaces and the pins are there now.
    const next = startCli(["demo"]);
    await next.printed("eth0: up");
    expect(namespacesOf(killed.child.pid)).toEqual([]);
    next.child.kill("SIGTERM");
    expect(await next.ended).toBe(1);
    await until("the pins are gone", () => !existsSync(pins));
  });
});
