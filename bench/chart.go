package main

import (
	"fmt"
	"image/color"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/palette/brewer"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	panelWidth  = 14 * vg.Centimeter
	panelHeight = 7 * vg.Centimeter
	groupWidth  = 0.7 // of the room that a workload has on the x axis
	legendWidth = 2.6 // in workloads, at the end of the x axis
	yPadding    = 1.1 // as a factor
	pad         = vg.Centimeter / 4
)

// inChart are the measures that the chart shows; the table has all.
var inChart = []string{"mails", "p99", "cpu"}

// chart draws a panel for each measure (downwards) and each build of libmilter (across).
func (r *results) chart(path string) error {
	colors, err := r.colors()
	if err != nil {
		return err
	}
	plots := make([][]*plot.Plot, len(inChart))
	for i, key := range inChart {
		for _, model := range r.Models {
			p, err := r.panel(measureOf(key), model, colors)
			if err != nil {
				return err
			}
			plots[i] = append(plots[i], p)
		}
	}
	tiles := draw.Tiles{Rows: len(inChart), Cols: len(r.Models), PadX: vg.Centimeter, PadY: vg.Centimeter / 2, PadTop: pad, PadRight: pad}
	svg := vgsvg.New(panelWidth*vg.Length(tiles.Cols), panelHeight*vg.Length(tiles.Rows))
	for i, row := range plot.Align(plots, tiles, draw.New(svg)) {
		for j, canvas := range row {
			plots[i][j].Draw(canvas)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := svg.WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}

// colors gives each filter its own, the same whichever are shown.
func (r *results) colors() (map[string]color.Color, error) {
	palette, err := brewer.GetPalette(brewer.TypeQualitative, "Dark2", len(filters))
	if err != nil {
		return nil, err
	}
	colors := map[string]color.Color{}
	for i, f := range filters {
		colors[f.Name] = palette.Colors()[i]
	}
	return colors, nil
}

// panel is one measure on one build: medians as dots, quartiles as bars, 1 is C.
func (r *results) panel(m measure, model string, colors map[string]color.Color) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s, %s", m.Title, model)
	p.Y.Label.Text = "ratio to C"
	p.Legend.Top = true
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(ratioTicks)
	p.NominalX(names(r.Workloads)...)
	p.X.Min, p.X.Max = -0.5, float64(len(r.Workloads))-0.5+legendWidth
	c := plotter.NewFunction(func(float64) float64 { return 1 })
	c.Width = vg.Points(1)
	p.Add(plotter.NewGrid(), c)
	// Room for a ratio of 1 with nothing beside it.
	p.Y.Min, p.Y.Max = 0.5, 2
	for i, f := range r.Filters {
		if err := r.series(p, m, model, f, float64(i), colors[f.Name]); err != nil {
			return nil, err
		}
	}
	p.Y.Min, p.Y.Max = p.Y.Min/yPadding, p.Y.Max*yPadding
	return p, nil
}

// series adds one filter.
func (r *results) series(p *plot.Plot, m measure, model string, f filter, i float64, c color.Color) error {
	offset := groupWidth * ((i+0.5)/float64(len(r.Filters)) - 0.5)
	var points dots
	for x, w := range r.Workloads {
		if s, ok := r.of(f.Name, model, w.Name, m); ok {
			points.XYs = append(points.XYs, plotter.XY{X: float64(x) + offset, Y: s.median})
			points.YErrors = append(points.YErrors, struct{ Low, High float64 }{s.median - s.low, s.high - s.median})
		}
	}
	if len(points.XYs) == 0 {
		return nil
	}
	scatter, err := plotter.NewScatter(points)
	if err != nil {
		return err
	}
	scatter.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(3), Shape: draw.CircleGlyph{}}
	quartiles, err := plotter.NewYErrorBars(points)
	if err != nil {
		return err
	}
	quartiles.Color = c
	p.Add(quartiles, scatter)
	p.Legend.Add(f.Name, scatter)
	return nil
}

// dots are medians with their quartiles.
type dots struct {
	plotter.XYs
	plotter.YErrors
}

// ratioTicks marks the ratios that one would say aloud.
func ratioTicks(low, high float64) (ticks []plot.Tick) {
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
		for _, step := range []float64{1, 2, 5} {
			if at := decade * step; at >= low && at <= high {
				ticks = append(ticks, plot.Tick{Value: at, Label: fmt.Sprintf("%.3g", at)})
			}
		}
	}
	return ticks
}
