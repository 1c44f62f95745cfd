// What programs that cannot run here send, call by call in their order: MetaMask,
// Hardhat, Otterscan; and the ledger's own calls about transactions that wait.
import assert from 'node:assert/strict'
import { Transaction, Wallet } from 'ethers'
import WebSocket from 'ws'
import { Suite, failure, missing, networks, registry, until } from './suite.mjs'

const suite = new Suite('calls', 'by hand')
const quantity = /^0x(0|[1-9a-f][0-9a-f]*)$/
const hex = (n) => '0x' + n.toString(16)

for (const network of networks) {
  const check = (title, body) => suite.check(`${network.kind}: ${title}`, body)
  let id = 3_141_592_653 // MetaMask's are large numbers

  /** One answer over HTTP: status 200, the id, and a result or an error. */
  async function ask(url, method, params, headers = {}) {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ id: ++id, jsonrpc: '2.0', method, params }),
    })
    assert.equal(response.status, 200, `${method}: HTTP ${response.status}`)
    const answer = await response.json()
    assert.deepEqual([answer.jsonrpc, answer.id], ['2.0', id])
    return answer
  }
  async function call(method, ...params) {
    const { result, error } = await ask(network.http, method, params)
    assert.equal(error, undefined, `${method}: ${error?.message}`)
    return result
  }
  /** A transfer of the sender, signed; fees that every network here takes unless others are given. */
  async function signed(sender, fields) {
    return sender.signTransaction({ type: 2, chainId: network.chainId, gasLimit: 21_000n, value: 1n, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 1n, ...fields })
  }
  const final = async (hash) => {
    let receipt
    assert.ok(await until(async () => (receipt = await call('eth_getTransactionReceipt', hash)) !== null, 20_000), 'not final')
    return receipt
  }

  await check('MetaMask: the chain is added', async () => {
    // wallet_addEthereumChain asks the URL for its chain id and compares.
    const extension = { origin: 'chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn' }
    assert.equal((await ask(network.http, 'eth_chainId', [], extension)).result, hex(network.chainId))
    assert.equal((await ask(network.http, 'net_version', [], extension)).result, String(network.chainId))
    assert.match(await call('eth_blockNumber'), quantity)
    const block = await call('eth_getBlockByNumber', 'latest', false)
    assert.match(block.baseFeePerGas, quantity) // there = EIP-1559, also when it is 0
    assert.equal(block.baseFeePerGas === '0x0', network.free)
  })

  await check('MetaMask: a transfer, from the form to the confirmation', async () => {
    const from = new Wallet(network.accounts[5].privateKey)
    const to = Wallet.createRandom().address
    assert.match(await call('eth_getBalance', from.address, 'latest'), quantity)
    assert.equal(await call('eth_getCode', to, 'latest'), '0x')
    const block = await call('eth_getBlockByNumber', 'latest', false)
    const fees = await call('eth_feeHistory', '0x5', 'latest', [10, 20, 30])
    const { length } = fees.gasUsedRatio
    assert.deepEqual([fees.baseFeePerGas.length, fees.reward.length, fees.reward[0].length], [length + 1, length, 3])
    const gasPrice = await call('eth_gasPrice')
    assert.equal(gasPrice === '0x0', network.free)
    const gas = await call('eth_estimateGas', { from: from.address, to, value: '0x1', type: '0x2' })
    assert.equal(gas, '0x5208')
    const nonce = Number(await call('eth_getTransactionCount', from.address, block.number))
    assert.equal(Number(await call('eth_getTransactionCount', from.address, 'pending')), nonce)
    const price = network.free ? 0n : 2n * BigInt(gasPrice) // a free network takes a transaction that offers nothing
    const raw = await signed(from, { to, nonce, maxFeePerGas: price, maxPriorityFeePerGas: network.free ? 0n : 1n })
    const hash = await call('eth_sendRawTransaction', raw)
    assert.equal(hash, Transaction.from(raw).hash)
    const receipt = await final(hash)
    assert.equal(receipt.effectiveGasPrice === '0x0', network.free)
    assert.deepEqual([receipt.status, receipt.contractAddress, receipt.logs], ['0x1', null, []])
    const its = await call('eth_getBlockByHash', receipt.blockHash, false)
    assert.ok(its.transactions.includes(hash))
    assert.match(its.timestamp, quantity)
    assert.equal(Number(await call('eth_getTransactionCount', from.address, its.number)), nonce + 1)
    assert.equal(Number(await call('eth_getTransactionCount', from.address, hex(Number(its.number) - 1))), nonce)
    assert.equal(await call('eth_getBalance', to, its.number), '0x1')
  })

  await check('MetaMask: a legacy transfer at the gas price that is told', async () => {
    const from = new Wallet(network.accounts[5].privateKey)
    const nonce = Number(await call('eth_getTransactionCount', from.address, 'latest'))
    const gasPrice = BigInt(await call('eth_gasPrice'))
    const raw = await from.signTransaction({ type: 0, chainId: network.chainId, gasLimit: 21_000n, gasPrice, to: from.address, value: 0n, nonce })
    const receipt = await final(await call('eth_sendRawTransaction', raw))
    assert.deepEqual([receipt.status, receipt.type], ['0x1', '0x0'])
  })

  await check('Hardhat: a script with a signer', async () => {
    const from = new Wallet(network.accounts[6].privateKey)
    for (const method of ['hardhat_metadata', 'hardhat_getAutomine', 'evm_snapshot', 'debug_traceTransaction', 'eth_fillTransaction']) {
      const { error } = await ask(network.http, method, [])
      assert.deepEqual([error?.code, error?.message], [-32601, `the method ${method} does not exist/is not available`])
    }
    assert.match(await call('web3_clientVersion'), /^cairnd\//)
    assert.deepEqual(await call('eth_accounts'), [])
    assert.equal(await call('eth_chainId'), hex(network.chainId))
    const latest = await call('eth_getBlockByNumber', 'latest', false)
    assert.match(latest.baseFeePerGas, quantity)
    const history = await call('eth_feeHistory', '0x1', 'latest', [50]) // its automatic fees
    assert.deepEqual([history.baseFeePerGas.length, history.reward.length], [2, 1])
    assert.equal(await call('eth_estimateGas', { from: from.address, to: from.address, value: '0x0' }, 'pending'), '0x5208')
    const nonce = Number(await call('eth_getTransactionCount', from.address, 'pending'))
    const hash = await call('eth_sendRawTransaction', await signed(from, { to: from.address, nonce, value: 0n }))
    const sent = await call('eth_getTransactionByHash', hash)
    assert.deepEqual([sent.hash, sent.from, Number(sent.nonce)], [hash, from.address.toLowerCase(), nonce])
    const receipt = await final(hash)
    assert.equal((await call('eth_getTransactionByHash', hash)).blockHash, receipt.blockHash)
    const deployed = await ask(network.http, 'eth_estimateGas', [{ from: from.address, data: '0x6001600055' }])
    assert.match(deployed.error.message, /contract creation is not supported/)
  })

  await check('Otterscan: start, block, transaction and address pages', async () => {
    const from = new Wallet(network.accounts[6].privateKey)
    const nonce = Number(await call('eth_getTransactionCount', from.address, 'pending'))
    const hash = await call('eth_sendRawTransaction', await signed(from, { to: registry, nonce, value: 0n, gasLimit: 60_000n, data: '0x12345678' })) // reverts
    const receipt = await final(hash)
    assert.equal(receipt.status, '0x0')
    assert.equal(await call('ots_getApiLevel'), 8)
    assert.equal((await call('erigon_getHeaderByNumber', 1)).number, '0x1')
    assert.equal((await call('erigon_getHeaderByNumber', receipt.blockNumber)).hash, receipt.blockHash)
    const number = Number(receipt.blockNumber)
    const details = await call('ots_getBlockDetails', number)
    assert.equal(details.block.hash, receipt.blockHash)
    assert.equal((await call('ots_getBlockDetailsByHash', receipt.blockHash)).block.number, receipt.blockNumber)
    const page = await call('ots_getBlockTransactions', number, 0, 25)
    assert.ok(page.fullblock.transactions.some((tx) => tx.hash === hash))
    assert.equal(page.receipts.length, page.fullblock.transactions.length)
    assert.equal((await call('eth_getTransactionByHash', hash)).blockNumber, receipt.blockNumber)
    assert.equal(await call('ots_getTransactionError', hash), '0x') // no receipt keeps a reason
    assert.deepEqual(await call('ots_getInternalOperations', hash), [])
    assert.equal((await call('ots_traceTransaction', hash)).length, 1)
    assert.equal(await call('ots_getTransactionBySenderAndNonce', from.address, nonce), hash)
    assert.equal(await call('ots_hasCode', from.address, 'latest'), false)
    assert.equal(await call('ots_hasCode', registry, 'latest'), true)
    const before = await call('ots_searchTransactionsBefore', from.address, 0, 25)
    assert.equal(before.txs[0].hash, hash)
    assert.deepEqual([before.firstPage, before.txs.length], [true, before.receipts.length])
    const after = await call('ots_searchTransactionsAfter', from.address, 0, 25)
    assert.deepEqual([after.lastPage, after.txs.at(-1).from], [true, from.address.toLowerCase()])
    assert.equal(await call('ots_getContractCreator', from.address), null)
  })

  await check('where a transaction is, and drops at the node that took it and at another one', async () => {
    const from = new Wallet(network.accounts[7].privateKey)
    const to = Wallet.createRandom().address
    const sockets = [network.http, network.other].map((url) => new Drops(url.replace(/^http/, 'ws')))
    await Promise.all(sockets.map((s) => s.ready))
    assert.equal((await call('cairn_transactionStatus', missing)).status, 'unknown')
    const nonce = Number(await call('eth_getTransactionCount', from.address, 'pending'))
    const first = await call('eth_sendRawTransaction', await signed(from, { to, nonce: nonce + 2 }))
    let status
    const everywhere = async () => {
      status = await call('cairn_transactionStatus', first)
      return status.seenBy?.length === 4
    }
    assert.ok(await until(everywhere, 10_000), 'not all validators have it')
    assert.equal(status.status, 'gapped')
    assert.deepEqual(status.missingNonces, [hex(nonce), hex(nonce + 1)])
    assert.deepEqual([status.notSeenBy, status.notReached], [[], []])
    assert.deepEqual(status.seenBy.map((w) => [w.name, w.status]).sort(), [0, 1, 2, 3].map((i) => [`node${i}`, 'gapped']))
    const better = await signed(from, { to, nonce: nonce + 2, maxFeePerGas: 2n * 10n ** 11n, maxPriorityFeePerGas: 2n })
    const second = await call('eth_sendRawTransaction', better)
    for (const [i, socket] of sockets.entries()) {
      assert.ok(await until(() => socket.drops.some((d) => d.hash === first), 10_000), `node ${i} tells of no drop`)
      const drop = socket.drops.find((d) => d.hash === first)
      assert.deepEqual([drop.from, Number(drop.nonce), drop.local], [from.address.toLowerCase(), nonce + 2, i === 0])
      assert.ok(drop.reason.includes(second), drop.reason)
      socket.close()
    }
    status = await call('cairn_transactionStatus', first)
    assert.equal(status.status, 'rejected')
    assert.ok(status.why.includes(second), status.why)
    for (const n of [nonce, nonce + 1]) await call('eth_sendRawTransaction', await signed(from, { to, nonce: n }))
    const receipt = await final(second)
    status = await call('cairn_transactionStatus', second)
    assert.deepEqual([status.status, status.succeeded, status.blockHash], ['final', true, receipt.blockHash])
    const again = await failure(() => call('eth_sendRawTransaction', better))
    assert.match(again.message, /nonce too low/)
  })
}

/** A subscription to drops. */
function Drops(url) {
  this.drops = []
  const socket = new WebSocket(url)
  this.close = () => socket.close()
  this.ready = new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () => socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'cairn_subscribe', params: ['drops'] })))
    socket.on('message', (text) => {
      const { id, result, method, params } = JSON.parse(text)
      if (id === 1) resolve(result)
      if (method === 'cairn_subscription') this.drops.push(params.result)
    })
  })
}

suite.end(12)
