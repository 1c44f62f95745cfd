// Package consensus is the pure core of the Simplex protocol (B. Chan, R. Pass,
// "Simplex Consensus", TCC 2023, eprint 2023/463) for one fixed set of
// validators, with certificates that anybody can check. A block takes two message
// delays, its finality three.
//
// # The protocol
//
// Time is cut into views. View v has one leader, member (v + epoch) mod n of the
// set sorted by address, and at most one block. n members tolerate f = ⌊(n−1)/3⌋
// faulty ones; a quorum is q = ⌊(n+f)/2⌋ + 1 distinct members. A quorum of one
// vote makes a certificate: notarize a notarization, nullify a nullification,
// finalize a finalization.
//
// Upon entering view v:
//   - If v's leader, and there is work: build on the highest view p < v that is
//     notarized and executed, or finalized, once every view between p and v is
//     nullified. Broadcast the proposal: the block, p, and our notarize vote,
//     which is its signature, with the certificates that others may lack.
//   - Wait for the leader's proposal for 2Δ', for the end of the view for 3Δ',
//     both only while there is work. Then, or at once if the leader has been
//     silent for a rotation, broadcast nullify v.
//
// Upon receiving the leader's first proposal of v: if p is notarized or
// finalized, every view between is nullified, the header extends the block of p
// in every field, and the block is executed and durable here, broadcast notarize
// v. If any of that is merely missing, ask for it and wait. If what the leader
// signed is definitely wrong, broadcast nullify v.
//
// Upon receiving a quorum of notarize v, or a notarization of v: keep it, pass it
// on once. When its block is executed here, enter v+1 and, unless we signed
// nullify v, broadcast finalize v.
//
// Upon receiving a quorum of nullify v, or a nullification of v: keep it, pass it
// on once, enter v+1. A notarization of v may still come; both are kept.
//
// Upon receiving a quorum of finalize v, or a finalization of v: keep it, pass it
// on once, enter v+1. The block and all its ancestors are final; commit them
// when they are executed.
//
// Upon receiving, in the current view and before our own notarize, nullify from
// the leader or from n−q+1 others: nullify too, for this view cannot be notarized
// without one of them.
//
// Upon seeing a message of a view below ours, when we have been past it for more
// than Δ: answer with the certificate that helps most.
//
// While our nullify of the current view stands: repeat it every 2Δ, with the
// certificate that admitted us to the view and our finalize votes that may still
// count.
//
// # Why it is safe
//
// Two quorums share an honest member. A finalization and a nullification of one
// view would need an honest member that signed both, and two notarizations of one
// view one that notarized twice: sign refuses both on every path. If view v is
// final and a later chain skipped it, the first block above v on that chain has a
// parent below v, so honest members voted for it holding a nullification of v.
//
// # Deviations from the paper
//
//   - Certificates carry the parent's view, so that one can be checked alone.
//   - Idle networks make no views: deadlines run only while a view is armed.
//   - Silent leaders are skipped without a wait.
//   - Deadlines double for each rotation without finality, up to a cap.
//   - A nullify does not stop its sender from following a notarization.
//   - A closing block, which changes the set of validators, is proposed again
//     until it is directly final, and has no child.
//
// # Responsibilities
//
// The core keeps promises (what was signed), counts votes, stores certificates
// until a finalization covers them, and decides what to send, build, execute,
// fetch and commit. The driver verifies signatures before Step (VerifyVote,
// VerifyCertificate, VerifyProposal), keeps bodies and records, owns the clocks,
// and carries effects out in the order that Effects gives.
//
// Everything a peer can make the core remember is bounded: votes by a window of
// views and one per member, kind and view; proposals by one for each of the
// current and the next view; blocks by MaxHeldBlocks; answers by one for each
// member every Δ. Only certificates, which take a quorum to make, accumulate, one
// of each kind for each view above the last finalized one.
//
// # Failures
//
// Rejections are ErrorKind values. What cannot happen with f faulty members and
// correct software (two notarizations of a view, a certified block that does not
// execute, …) halts the core: Effects.Halt says why, a record makes it survive a
// restart, and nothing is signed any more.
package consensus
