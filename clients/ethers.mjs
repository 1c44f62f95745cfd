// ethers v6: JsonRpcProvider, WebSocketProvider, Wallet.
import assert from 'node:assert/strict'
import { Contract, JsonRpcProvider, Transaction, Wallet, WebSocketProvider, encodeRlp, isError, keccak256, parseEther } from 'ethers'
import { candidate, registryABI } from './candidate.mjs'
import { checkProof, headerFields } from './proofs.mjs'
import { Suite, failure, missing, networks, registry, setSlots, until } from './suite.mjs'

const suite = new Suite('ethers')

for (const network of networks) {
  const check = (title, body) => suite.check(`${network.kind}: ${title}`, body)
  // No cache of answers: the next transfer's nonce counts the one before.
  const provider = new JsonRpcProvider(network.http, undefined, { cacheTimeout: -1, pollingInterval: 50 })
  const wallet = new Wallet(network.accounts[0].privateKey, provider)
  const to = Wallet.createRandom().address

  await check('connects', async () => {
    assert.equal((await provider.getNetwork()).chainId, BigInt(network.chainId))
    assert.ok((await provider.getBlockNumber()) >= 1)
    assert.equal(await provider.getCode(to), '0x')
  })

  await check('fees', async () => {
    const fees = await provider.getFeeData()
    if (network.free) assert.deepEqual([fees.gasPrice, fees.maxFeePerGas], [0n, null]) // to ethers a base fee of 0 is none
    else for (const fee of [fees.gasPrice, fees.maxFeePerGas, fees.maxPriorityFeePerGas]) assert.ok(fee > 0n)
    assert.equal(await provider.estimateGas({ from: wallet.address, to, value: 1n }), 21_000n)
  })

  for (const [name, type, extra] of [['legacy', 0, {}], ['EIP-2930', 1, { accessList: [{ address: to, storageKeys: [missing] }] }], ['EIP-1559', 2, {}]]) {
    await check(`${name} transfer`, async () => {
      const before = await provider.getBalance(wallet.address)
      const received = await provider.getBalance(to)
      const sent = await wallet.sendTransaction({ to, value: parseEther('1.5'), type, ...extra })
      const receipt = await sent.wait(1, 20_000)
      assert.deepEqual([receipt.status, receipt.type, receipt.hash, receipt.from, receipt.to], [1, type, sent.hash, wallet.address, to])
      assert.equal(receipt.fee, receipt.gasUsed * receipt.gasPrice)
      assert.equal(network.free, receipt.fee === 0n)
      assert.equal(await provider.getBalance(wallet.address), before - parseEther('1.5') - receipt.fee)
      assert.equal(await provider.getBalance(to), received + parseEther('1.5'))
      assert.equal(await provider.getBalance(to, receipt.blockNumber - 1), received)
      const found = await provider.getTransaction(sent.hash)
      assert.equal(Transaction.from(found).hash, sent.hash) // hash and signature from the fields
    })
  }

  await check('error INSUFFICIENT_FUNDS', async () => {
    const e = await failure(() => wallet.sendTransaction({ to, value: 10n ** 40n, gasLimit: 21_000n }))
    assert.ok(isError(e, 'INSUFFICIENT_FUNDS'), e)
  })
  await check('error NONCE_EXPIRED', async () => {
    const e = await failure(() => wallet.sendTransaction({ to, value: 1n, nonce: 0 }))
    assert.ok(isError(e, 'NONCE_EXPIRED'), e)
  })
  await check('error REPLACEMENT_UNDERPRICED', async () => {
    const sender = new Wallet(network.accounts[4].privateKey, provider)
    const nonce = (await sender.getNonce()) + 1 // behind a gap, so that it waits
    const first = { to, nonce, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 1n, gasLimit: 21_000n }
    await sender.sendTransaction({ ...first, value: 1n })
    const e = await failure(() => sender.sendTransaction({ ...first, value: 2n }))
    assert.ok(isError(e, 'REPLACEMENT_UNDERPRICED'), e)
    await (await sender.sendTransaction({ to, nonce: nonce - 1, value: 1n })).wait(1, 20_000)
  })
  await check('error CALL_EXCEPTION with the registry’s reason', async () => {
    for (const action of [() => provider.call({ to: registry, data: '0x12345678' }), () => wallet.sendTransaction({ to: registry, data: '0x12345678' })]) {
      const e = await failure(action)
      assert.ok(isError(e, 'CALL_EXCEPTION') && e.reason.length > 0, e)
    }
  })
  await check('error UNSUPPORTED_OPERATION or -32601 of an unknown method', async () => {
    const e = await failure(() => provider.send('eth_nope', []))
    assert.ok(isError(e, 'UNSUPPORTED_OPERATION') || e.error?.code === -32601, e)
  })
  await check('what is not there is null', async () => {
    assert.equal(await provider.getTransactionReceipt(missing), null)
    assert.equal(await provider.getTransaction(missing), null)
    assert.equal(await provider.getBlock(missing), null)
    assert.equal(await provider.getBlock(1_000_000_000), null)
  })

  await check('batch of 100', async () => {
    const batching = new JsonRpcProvider(network.http, undefined, { cacheTimeout: -1, batchMaxCount: 100, staticNetwork: await provider.getNetwork() })
    const sizes = []
    batching.on('debug', ({ action, payload }) => action === 'sendRpcPayload' && sizes.push([payload].flat().length))
    const balances = await Promise.all(Array.from({ length: 100 }, (_, i) => batching.getBalance(to, i % 2 ? 'latest' : 0)))
    assert.deepEqual(balances.filter((b, i) => (b === 0n) === (i % 2 === 0)).length, 100)
    assert.deepEqual(sizes, [100])
    batching.destroy()
  })

  await check('header hash recomputed', async () => {
    for (const at of ['latest', '0x0', '0x1']) {
      const raw = await provider.send('eth_getBlockByNumber', [at, false])
      assert.equal(keccak256(encodeRlp(headerFields(raw))), raw.hash)
    }
  })
  await check('account proofs against the state root', async () => {
    const raw = await provider.send('eth_getBlockByNumber', ['latest', false])
    for (const address of [wallet.address, to, Wallet.createRandom().address]) {
      const proof = await provider.send('eth_getProof', [address, [], raw.number])
      assert.equal(BigInt(proof.balance), await provider.getBalance(address, raw.number))
      await checkProof(proof, raw.stateRoot, address, keccak256)
    }
    const proof = await provider.send('eth_getProof', [registry, setSlots, raw.number])
    assert.equal(BigInt(proof.storageProof[1].value), 4n)
    await checkProof(proof, raw.stateRoot, registry, keccak256)
  })

  await check('subscriptions over WebSocket', async () => {
    const socket = new WebSocketProvider(network.ws, undefined, { cacheTimeout: -1 })
    const heads = []
    const pending = new Set()
    await socket.on('block', (number) => heads.push(number))
    await socket.on('pending', (hash) => pending.add(hash))
    for (let told = false; !told; ) { // the first may come before the subscriptions
      const sent = await wallet.sendTransaction({ to, value: 1n })
      const receipt = await sent.wait(1, 20_000)
      told = await until(() => heads.includes(receipt.blockNumber) && pending.has(sent.hash), 1000)
    }
    assert.deepEqual(heads, Array.from(heads, (_, i) => heads[0] + i)) // none is skipped
    await socket.destroy()
  })
  await check('events of the registry over WebSocket', async () => {
    const socket = new WebSocketProvider(network.ws, undefined, { cacheTimeout: -1 })
    const watched = new Contract(registry, registryABI, socket)
    const told = []
    await watched.on('Registered', (...args) => told.push(args))
    const who = candidate(network.chainId)
    const receipt = await (await new Contract(registry, registryABI, wallet).register(...who.args)).wait(1, 20_000)
    assert.equal(receipt.logs.length, 1)
    assert.ok(await until(() => told.some(([, , , , event]) => event.log.transactionHash === receipt.hash), 10_000))
    const [address, peerId, name, number, event] = told.find(([, , , , e]) => e.log.transactionHash === receipt.hash)
    assert.deepEqual([address, peerId, name, number, event.log.blockHash], [who.address, who.peerId, who.name, 0n, receipt.blockHash])
    const found = await watched.queryFilter(watched.filters.Registered(who.address), 0, 'latest')
    assert.deepEqual(found.map((e) => e.transactionHash), [receipt.hash])
    assert.deepEqual([...(await watched.candidate(who.address))], [true, who.peerId, who.name])
    await socket.destroy()
  })
  provider.destroy()
}

suite.end(32)
