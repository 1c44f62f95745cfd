package consensus

// Envelope is one frame between nodes: exactly one field is set.
type Envelope struct {
	Vote        *Vote
	Certificate *Certificate
	Proposal    *ProposalEnvelope
}

// ProposalEnvelope is a proposal as it travels: the leader's vote, which is the
// proposal's signature, what the sender attached, and the encoded block, which
// is opaque here.
type ProposalEnvelope struct {
	Vote           Vote
	Parent         *Certificate
	Nullifications []Certificate
	Body           []byte
}

func EncodeEnvelope(e *Envelope) []byte                        { panic("soon") }
func DecodeEnvelope(b []byte, maxBytes int) (*Envelope, error) { panic("soon") }
func EncodeCertificate(c *Certificate) []byte                  { panic("soon") }
func DecodeCertificate(b []byte) (*Certificate, error)         { panic("soon") }
func EncodeVote(v *Vote) []byte                                { panic("soon") }
func DecodeVote(b []byte) (*Vote, error)                       { panic("soon") }
func EncodeRecord(r Record) []byte                             { panic("soon") }
func DecodeRecord(b []byte) (Record, error)                    { panic("soon") }
