package app

import (
	"net"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/compat/goodjob"
	"github.com/taskweir/taskweir/internal/compat/serendipity"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/runner/httpcall"
)

// mountSurfaces adds the legacy APIs that the configuration names.
func (a *App) mountSurfaces(engine *httpkit.Engine) {
	makers := map[string]func() compat.Surface{
		goodjob.Name: func() compat.Surface {
			return goodjob.New(goodjob.Options{Service: a.service, Nonces: a.redis.Nonces(), Zone: a.cfg.Legacy.Zone, Logger: a.log})
		},
		serendipity.Name: func() compat.Surface {
			return serendipity.New(serendipity.Options{Service: a.service, Nonces: a.redis.Nonces(), Zone: a.cfg.Legacy.Zone, Logger: a.log,
				Classes: a.cfg.Serendipity.Classes, TokenLife: a.cfg.Serendipity.TokenLife})
		},
	}
	var on []compat.Surface
	for _, name := range a.cfg.Surfaces {
		on = append(on, makers[name]())
	}
	compat.Mount(engine, a.cfg.Legacy.Root, on...)
}

// dialects are the ways in which legacy APIs call their apps back. A worker runs all of them, whatever an api serves.
func (a *App) dialects() []httpcall.Dialect {
	return []httpcall.Dialect{goodjob.NewDialect(a.cfg.Legacy.Zone), serendipity.Dialect{}, serendipity.Results{}}
}

// onLoopback reports whether only this machine can reach a listener. It is asked of the address that the process listens on, as
// configured, never of a caller's: behind a proxy every caller is local.
func onLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
