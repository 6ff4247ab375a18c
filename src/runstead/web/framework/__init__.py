"""What every page uses: routing, rendering, forms, live updates, assets."""
