import { expect, test } from "vitest";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { expectNoPrograms, interrupt, startExample } from "./harness.ts";

describeKernel("examples/tcx-chain.ts", () => {
  test("the programs run in their order", async () => {
    await using net = await createTestNet();
    const order = "eth0 tcx_ingress: count_seen -> drop_icmp -> count_left\n";
    const example = await startExample("tcx-chain", ["eth0"], order, net);
    expect(await net.udpOneWay({ count: 4 })).toMatchObject({ received: 4 });
    const ping = ["-n", "-c", "3", "-i", "0.02", "-W", "1", "10.77.0.1"];
    expect(await net.exec("outside", "ping", ping, { allowFailure: true })).toMatchObject({ code: 1 });
    await example.waitFor("7 seen, 3 dropped, 4 left\n");
    const { stdout } = await net.exec("inside", "bpftool", ["net", "show", "dev", "eth0"]);
    const names = [...stdout.matchAll(/tcx\/ingress (\w+)/g)].map(([, name]) => name);
    expect(names).toEqual(["count_seen", "drop_icmp", "count_left"]);
    await interrupt(example);
    await expectNoPrograms(net);
    expect(await net.ping()).toMatchObject({ received: 3 });
  });
});
