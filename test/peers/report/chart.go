package report

import (
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/taskweir/taskweir/test/peers/measure"
)

// The chart's size and colours.
const (
	chartWidth  = 26 * vg.Centimeter
	chartHeight = 18 * vg.Centimeter
	barWidth    = 13
)

var (
	oursColor  = color.RGBA{R: 0x1b, G: 0x6c, B: 0xa8, A: 0xff}
	peersColor = color.RGBA{R: 0x9a, G: 0xa5, B: 0xb1, A: 0xff}
	ink        = color.RGBA{R: 0x22, G: 0x22, B: 0x22, A: 0xff}
)

// Chart draws four panels as SVG: what is worked off, and how long a start takes.
func (r *Report) Chart(w io.Writer) error {
	panels := make([][]*plot.Plot, 2)
	for i, row := range [][]func() (*plot.Plot, error){
		{r.bars("Drain of 50,000 (tasks/s)", measure.Drain), r.bars("Steady, single submits (tasks/s)", measure.Steady256, measure.Steady32)},
		{r.bars("HTTP callbacks (tasks/s)", measure.Callbacks), r.pickups},
	} {
		for _, make := range row {
			p, err := make()
			if err != nil {
				return fmt.Errorf("draw chart: %w", err)
			}
			panels[i] = append(panels[i], p)
		}
	}
	canvas := vgsvg.New(chartWidth, chartHeight)
	page := draw.New(canvas)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	tiles := draw.Tiles{Rows: 2, Cols: 2, PadX: vg.Centimeter, PadY: vg.Centimeter, PadTop: vg.Millimeter * 4, PadBottom: vg.Millimeter * 3, PadLeft: vg.Millimeter * 3, PadRight: vg.Millimeter * 8}
	for i, row := range plot.Align(panels, tiles, page) {
		for k, c := range row {
			panels[i][k].Draw(c)
		}
	}
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("write chart: %w", err)
	}
	return nil
}

// shown are the systems of the chart from the bottom upwards.
func (r *Report) shown() []*System {
	var list []*System
	for _, s := range r.Systems {
		if s.Tuned == "" {
			list = append([]*System{s}, list...)
		}
	}
	return list
}

func (r *Report) panel(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Millimeter * 2
	var names []string
	for _, s := range r.shown() {
		names = append(names, shortName(s))
	}
	p.NominalY(names...)
	p.Y.Tick.Length = 0
	return p
}

// bars draws medians with their spread; of several figures the system's best.
func (r *Report) bars(title string, figures ...string) func() (*plot.Plot, error) {
	return func() (*plot.Plot, error) {
		p := r.panel(title)
		p.X.Min = 0
		for i, s := range r.shown() {
			f := s.bestFigure(figures)
			if f == nil {
				continue
			}
			bar, err := plotter.NewBarChart(plotter.Values{f.Median}, vg.Points(barWidth))
			if err != nil {
				return nil, err
			}
			bar.Horizontal, bar.XMin, bar.LineStyle.Width, bar.Color = true, float64(i), 0, peersColor
			if s.ours() {
				bar.Color = oursColor
			}
			spread, err := plotter.NewXErrorBars(spreadOf(f, i))
			if err != nil {
				return nil, err
			}
			spread.Color = ink
			p.Add(bar, spread)
		}
		p.X.Tick.Marker = thousands{}
		return p, nil
	}
}

// bestFigure is the one with the highest median.
func (s *System) bestFigure(names []string) *Figure {
	var b *Figure
	for _, name := range names {
		if f := s.Figure(name); f != nil && !f.None && len(f.Values) > 0 && (b == nil || f.Median > b.Median) {
			b = f
		}
	}
	return b
}

// spread is one point with the distance to its least and its greatest value.
type spread struct {
	plotter.XYs
	plotter.XErrors
}

func spreadOf(f *Figure, y int) spread {
	at := plotter.XYs{{X: f.Median, Y: float64(y)}}
	e := make(plotter.XErrors, 1)
	e[0].Low, e[0].High = f.Median-f.Min, f.Max-f.Median
	return spread{at, e}
}

// pickups draws p50 and p99 of the time to the start.
func (r *Report) pickups() (*plot.Plot, error) {
	p := r.panel("Submit to start at 200/s: p50 (ring), p99 (dot), ms")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.X.Min, p.X.Max = 0.1, 1
	for _, part := range []struct {
		quantile string
		shape    draw.GlyphDrawer
	}{{", p50", draw.RingGlyph{}}, {", p99", draw.CircleGlyph{}}} {
		for i, s := range r.shown() {
			v, ok := s.median(measure.Pickup + part.quantile)
			if !ok || v <= 0 {
				continue
			}
			dot, err := plotter.NewScatter(plotter.XYs{{X: v, Y: float64(i)}})
			if err != nil {
				return nil, err
			}
			dot.Shape, dot.Radius, dot.Color = part.shape, vg.Points(4), peersColor
			if s.ours() {
				dot.Color = oursColor
			}
			p.Add(dot)
			p.X.Min = min(p.X.Min, math.Pow(10, math.Floor(math.Log10(v))))
			p.X.Max = max(p.X.Max, math.Pow(10, math.Ceil(math.Log10(v))))
		}
	}
	p.Add(plotter.NewGrid())
	return p, nil
}

// thousands labels the axis as 20k.
type thousands struct{}

// Ticks implements plot.Ticker.
func (thousands) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" && ticks[i].Value >= 1000 {
			ticks[i].Label = trim(ticks[i].Value/1000) + "k"
		}
	}
	return ticks
}
