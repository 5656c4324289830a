import { expect, test } from "vitest";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { expectNoPrograms, interrupt, startExample } from "./harness.ts";

describeKernel("examples/tail-calls.ts", () => {
  test("each packet goes through the programs of its protocols", async () => {
    await using net = await createTestNet();
    const example = await startExample("tail-calls", ["eth0"], "parsing on eth0\n", net);
    expect(await net.ping({ count: 4 })).toMatchObject({ received: 4 });
    expect(await net.sendUdp({ count: 3 })).toEqual({ sent: 3 });
    await example.waitFor("ethernet 7, ipv4 7, ipv6 0, icmp 4, tcp 0, udp 3\n");
    expect(await net.tcpEcho({ bytes: 100 })).toMatchObject({ intact: 1 });
    await example.waitFor(/icmp 4, tcp [1-9]\d*, udp 3\n/);
    await interrupt(example);
    await expectNoPrograms(net);
  });

  test("a program that is not there is not jumped to, and the packet passes", async () => {
    await using net = await createTestNet({ ipv6: true });
    const example = await startExample("tail-calls", ["eth0", "ipv6", "udp"], "parsing on eth0\n", net);
    expect(await net.udpOneWay({ count: 3, family: 4 })).toMatchObject({ received: 3 });
    expect(await net.udpOneWay({ count: 2, family: 6 })).toMatchObject({ received: 2 });
    await example.waitFor(/ethernet \d+, ipv4 0, ipv6 \d+, icmp 0, tcp 0, udp 2\n/);
    await interrupt(example);
  });
});
