package consensus

// Certificates are those that the core holds for the views from to to, both
// included, oldest view first; if the last finalization is of a later view, it
// comes last, because it says more than all that is asked for. It answers
// FetchCertificates of others.
func (c *Core) Certificates(from, to uint64) []Certificate {
	var out []Certificate
	for _, vs := range c.views {
		if vs.view < from || vs.view > to {
			continue
		}
		for _, cert := range vs.certs {
			if cert != nil {
				out = append(out, *cert)
			}
		}
	}
	if c.final.cert != nil && c.final.view > to {
		out = append(out, *c.final.cert)
	}
	return out
}

// Admitting is the certificate that admitted the core to its current view, nil
// in view 1 of an epoch. It must not be changed.
func (c *Core) Admitting() *Certificate { return c.admitting }
