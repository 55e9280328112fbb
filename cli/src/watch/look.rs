//! How things look on the screen: in colours, or under `NO_COLOR` by bold and reversed letters.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::output::has_colour;

/// The styles.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    has_colour: bool,
}

impl Look {
    /// As the environment wants it.
    pub fn new() -> Look {
        Look {
            has_colour: has_colour(),
        }
    }

    /// The first and the last line of the screen.
    pub fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A heading.
    pub fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The line that keys are about.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What is less important.
    pub fn quiet(self) -> Style {
        match self.has_colour {
            true => Style::new().fg(Color::DarkGray),
            false => Style::new(),
        }
    }

    /// What needs attention.
    pub fn alarm(self) -> Style {
        match self.has_colour {
            true => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            false => Style::new().add_modifier(Modifier::BOLD),
        }
    }

    /// What has changed; `age` goes from 0, just now, to 1, when it looks as before.
    pub fn changed(self, age: f64) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        match (self.has_colour, age) {
            (_, 1.0..) => Style::new(),
            (true, ..0.34) => bold.fg(Color::Black).bg(Color::Yellow),
            (true, ..0.67) => bold.fg(Color::Yellow),
            (true, _) => Style::new().fg(Color::Yellow),
            (false, ..0.34) => bold.add_modifier(Modifier::REVERSED),
            (false, ..0.67) => bold,
            (false, _) => Style::new().add_modifier(Modifier::UNDERLINED),
        }
    }
}

/// A line over the whole width.
pub fn bar(frame: &mut Frame<'_>, area: Rect, text: &str, style: Style) {
    let width = usize::from(area.width);
    let shown: String = text.chars().take(width).collect();
    frame.render_widget(
        Line::from(Span::styled(format!("{shown:<width$}"), style)),
        area,
    );
}
